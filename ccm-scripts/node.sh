#!/bin/bash
# One Cassandra node: its own configuration, data, logs, pid file and JMX port in $CASSANDRA_RUN/NAME.
#
#   node.sh start NAME VERSION ADDRESS [SEED]    first start or start again; returns when the CQL port is open
#   node.sh stop NAME        SIGTERM, SIGKILL after 60 s
#   node.sh kill NAME        SIGKILL
#   node.sh pause NAME       SIGSTOP: connections are still accepted by the kernel, nothing is answered
#   node.sh resume NAME      SIGCONT
#   node.sh status NAME      exit code 0 if it runs, 3 if not
#   node.sh wipe NAME        removes the directory of a stopped node
#
# Environment of start:
#   AUTH=password      PasswordAuthenticator and CassandraAuthorizer; the first user is cassandra / cassandra
#   CLUSTER=NAME       cluster name (default: the node's)
#   CQL_PORT=9042  JMX_PORT=N (default 10000 + 100 * third + fourth number of the address)
#   HEAP=512M  JVM_EXTRA_OPTS="-D..."  WAIT=90 (seconds)
#   YAML="key: value\nkey: value"    more settings, with \n between them; later keys win
#
# Every signal goes to the process of the pid file, after a check that it is still this node.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=environment.sh
. "$here/environment.sh"

command=${1:-}
name=${2:-}
[ -n "$name" ] || fail "usage: node.sh start|stop|kill|pause|resume|status|wipe NAME ..."
node=$CASSANDRA_RUN/$name
pidfile=$node/cassandra.pid
pid=

is_running() {
    [ -s "$pidfile" ] || return 1
    pid=$(cat "$pidfile")
    # the command line of a dead or zombie process is empty; another process with that id has another one
    tr '\0' '\n' 2> /dev/null < "/proc/$pid/cmdline" | grep -qxF -- "-Dcassandra.logdir=$node/logs"
}

await_end() { # TENTHS of a second
    local left
    for ((left = $1; left > 0; left--)); do
        is_running || return 0
        sleep 0.1
    done
    return 1
}

configure() { # VERSION ADDRESS SEED
    local conf=$node/conf install third fourth
    install=$(install_directory "$1")
    IFS=. read -r _ _ third fourth <<< "$2"
    rm -rf "$conf"
    mkdir -p "$node/logs"
    cp -r "$install/conf" "$conf"
    sed -i "s/^JMX_PORT=.*/JMX_PORT=\"${JMX_PORT:-$((10000 + 100 * third + fourth))}\"/" "$conf/cassandra-env.sh"
    sed -i -e "s/^cluster_name:.*/cluster_name: '${CLUSTER:-$name}'/" \
        -e "s/^\(listen_address\|rpc_address\):.*/\1: $2/" \
        -e "s/^\( *- seeds:\).*/\1 \"$3\"/" \
        -e "s/^native_transport_port:.*/native_transport_port: ${CQL_PORT:-9042}/" \
        -e "s#$install/data/#$node/data/#" "$conf/cassandra.yaml"
    if [ "${AUTH:-}" = password ]; then
        sed -i -e 's/^authenticator:.*/authenticator: PasswordAuthenticator/' \
            -e 's/^authorizer:.*/authorizer: CassandraAuthorizer/' "$conf/cassandra.yaml"
    fi
    [ -z "${YAML:-}" ] || printf '%b\n' "$YAML" >> "$conf/cassandra.yaml"
}

explain_death() {
    say "$name died:" >&2
    tail -n 15 "$node/logs/stderr.log" "$node/logs/system.log" >&2 || true
    exit 1
}

start() { # VERSION ADDRESS [SEED]
    local version=${1:?version} address=${2:?address} seed=${3:-$2} install end began=$SECONDS
    if is_running; then
        say "$name runs already, pid $pid"
        return
    fi
    is_installed "$version" || fail "Cassandra $version is not built: run install.sh $version"
    find_java
    configure "$version" "$address" "$seed"
    install=$(install_directory "$version")
    rm -f "$pidfile"
    CASSANDRA_HOME=$install CASSANDRA_CONF=$node/conf MAX_HEAP_SIZE=${HEAP:-512M} \
        "$install/bin/cassandra" -p "$pidfile" "-Dcassandra.logdir=$node/logs" 2> "$node/logs/stderr.log"
    sleep 0.5 # until the launcher has become the java process that is_running knows
    end=$((SECONDS + ${WAIT:-90}))
    until (exec 3<> "/dev/tcp/$address/${CQL_PORT:-9042}") 2> /dev/null; do
        is_running || explain_death
        [ "$SECONDS" -lt "$end" ] || fail "$name: CQL port closed after ${WAIT:-90} s, see $node/logs"
        sleep 0.1
    done
    is_running || explain_death
    say "$name: $version on $address, pid $pid, up in $((SECONDS - began)) s"
}

stop() {
    if is_running; then
        kill "$pid"
        kill -CONT "$pid" # a paused process takes no SIGTERM
        await_end 600 || { is_running && kill -KILL "$pid"; }
    fi
    rm -f "$pidfile"
    say "$name is down"
}

signal() { # SIGNAL
    is_running || fail "$name is not running"
    kill "-$1" "$pid"
}

case $command in
    start) start "${@:3}" ;;
    stop) stop ;;
    kill)
        signal KILL
        await_end 100 || fail "$name survived SIGKILL"
        rm -f "$pidfile"
        ;;
    pause) signal STOP ;;
    resume) signal CONT ;;
    status)
        if is_running; then
            say "$name runs, pid $pid, $(awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$pid/status") MiB"
        else
            say "$name is down"
            exit 3
        fi
        ;;
    wipe)
        if is_running; then fail "$name runs: stop it first"; fi
        rm -rf "$node"
        ;;
    *) fail "unknown command $command" ;;
esac
