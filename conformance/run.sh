#!/bin/bash
# The conformance suite against real and other clusters.
#
#   run.sh ci                    Cassandra 4.1 to 5.0 with logins at v4; the sandbox at v3, and load; Simulacron
#   run.sh full                  that, and more versions and settings; writes results/DATE.md
#   run.sh one RUN [OPTION...]   one of the runs below, with more pytest options
#
# Environment: JUNIT_DIR (default build/junit) takes one conformance-RUN.xml a run. The options that a run does not set,
# such as PROXY_COMMAND or DEBUG, may be given in the environment too: see README.md.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
junit=${JUNIT_DIR:-build/junit}

# What a run leaves out hardly depends on what it has for itself: Cassandra's nodes take seconds to come back (outage),
# the load takes a minute, and the toggle's HTTP API is the proxy's own matter (http). `report` sees to it that over all
# runs each scenario has been on each backend that matrix.md names.
declare -A options=(
    [cassandra]="--clusters ccm --cassandra-version 4.1.10,5.0.9 --auth both --protocol 4 -m 'not http'"
    [sandbox-v3]="--clusters sandbox --auth both --protocol 3 -m 'not load'"
    [sandbox-v5]="--clusters sandbox --auth both --protocol 5 --compression lz4 -m 'not load'"
    [sandbox-load]="--clusters sandbox --auth none --protocol 4 -m load"
    [simulacron]="--clusters simulacron --auth none --protocol 4 -m 'not http'"
    [sandbox]="--clusters sandbox --auth both --protocol 4 -m 'not toggle'"
    [simulacron-v3]="--clusters simulacron --auth none --protocol 3 --primary TARGET"
    [swapped]="--clusters ccm --cassandra-version 5.0.9,4.1.10 --auth both --protocol 3 -m 'not toggle and not outage'"
    [from-4.0]="--clusters ccm --cassandra-version 4.0.19,5.0.9 --auth both --protocol 4 -m 'not toggle and not outage'"
    [from-3.11]="--clusters ccm --cassandra-version 3.11.19,4.1.10 --auth both --protocol 3 -m 'not http'"
    [from-3.11-to-5.0]="--clusters ccm --cassandra-version 3.11.19,5.0.9 --auth both --protocol 4 -m 'not toggle and not outage'"
    [primary-target]="--clusters ccm --cassandra-version 4.1.10,5.0.9 --auth both --protocol 4 --primary TARGET -m 'not load and not http and not outage'"
    [login-at-target]="--clusters ccm --cassandra-version 4.1.10,5.0.9 --auth target --protocol 4 -m 'not load and not http and not outage'"
    [login-at-origin]="--clusters ccm --cassandra-version 4.1.10,5.0.9 --auth origin --protocol 4 -m 'not load and not outage'"
    [no-login]="--clusters ccm --cassandra-version 4.1.10,4.1.10 --auth none --protocol 4 -m 'not http and not outage'"
    [drivers]="--clusters sandbox --auth both --drivers python,go,node,cqlsh"
    [drivers-cassandra]="--clusters ccm --cassandra-version 4.1.10,5.0.9 --auth both --drivers python,go,node,cqlsh,java,rust"
)
ci=(cassandra sandbox-v3 sandbox-v5 sandbox-load simulacron)
# two rows at the same time: those on Cassandra need the processors, the others mostly wait
full=(cassandra swapped from-4.0 from-3.11 from-3.11-to-5.0 primary-target login-at-target login-at-origin no-login drivers-cassandra)
beside=(sandbox sandbox-v3 sandbox-v5 sandbox-load simulacron simulacron-v3 drivers)

run() { # NAME OPTION...
    local name=$1 given
    shift
    printf '\n== %s: %s\n' "$name" "${options[$name]} $*"
    eval "given=(${options[$name]})"
    .venv/bin/python -m pytest -c conformance/pytest.ini conformance -q --junitxml="$junit/conformance-$name.xml" "${given[@]}" "$@"
}

run_all() {
    local name failed=()
    for name in "$@"; do
        run "$name" || failed+=("$name")
    done
    [ ${#failed[@]} = 0 ] && return
    printf '\nfailed: %s\n' "${failed[*]}" >&2
    return 1
}

run_full() {
    local result=0 other
    set -m # the other row is a job of its own, so that an interrupt can be passed on to it
    run_all "${beside[@]}" > "$junit/beside.log" 2>&1 &
    other=$!
    set +m
    # shellcheck disable=SC2064  # the id as it is now
    trap "kill -INT -- -$other; exit 130" INT TERM
    run_all "${full[@]}" || result=1
    wait "$other" || result=1
    cat "$junit/beside.log"
    return "$result"
}

make setup || exit 1
mkdir -p "$junit"
case ${1:-} in
    ci)
        rm -f "$junit"/conformance-*.xml
        run_all "${ci[@]}"
        ;;
    full)
        rm -f "$junit"/conformance-*.xml
        run_full
        result=$?
        mkdir -p conformance/results
        .venv/bin/python -m conformance.report "$junit" > "conformance/results/$(date -u +%F).md" || result=1
        exit "$result"
        ;;
    one)
        [ -n "${options[${2:-none}]:-}" ] || { echo "no such run; there are: ${!options[*]}" >&2; exit 2; }
        run "$2" "${@:3}"
        ;;
    *)
        sed -n '2,9s/^# \{0,1\}//p' "$0"
        exit 2
        ;;
esac
