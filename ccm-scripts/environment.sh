# shellcheck shell=bash
# What every script here agrees on: where install directories and nodes live, and which Java runs them.
#   CASSANDRA_ROOT   install directories                  (default ~/.cache/zdm-cassandra)
#   CASSANDRA_RUN    one directory per node: conf, data, logs, pid file   (default $CASSANDRA_ROOT/run)
#   JAVA_HOME        Java 11 or 17                        (default: the newest of the two that is installed)

CASSANDRA_ROOT=${CASSANDRA_ROOT:-$HOME/.cache/zdm-cassandra}
CASSANDRA_RUN=${CASSANDRA_RUN:-$CASSANDRA_ROOT/run}

say() { printf '%s\n' "$*"; }
fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

find_java() {
    local home
    if [ -z "${JAVA_HOME:-}" ]; then
        for home in /usr/lib/jvm/*17* /usr/lib/jvm/*11*; do
            if [ -x "$home/bin/java" ]; then
                JAVA_HOME=$home
                break
            fi
        done
    fi
    [ -n "${JAVA_HOME:-}" ] || fail "no Java 17 or 11 under /usr/lib/jvm: install one, or set JAVA_HOME"
    [ -x "$JAVA_HOME/bin/java" ] || fail "JAVA_HOME=$JAVA_HOME has no bin/java"
    export JAVA_HOME
}

install_directory() { say "$CASSANDRA_ROOT/cassandra-$1"; }

is_installed() { [ -e "$(install_directory "$1")/0.version.txt" ]; }
