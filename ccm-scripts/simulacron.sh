#!/bin/bash
# Simulacron, a cluster that answers as it is told, out of Maven Central.
#
#   simulacron.sh path                 fetches the jar where it is missing, and prints where it is
#   simulacron.sh run ADDRESS PORT     becomes the program: HTTP control on 127.0.0.1:PORT; clusters are asked for there
#
# Environment: SIMULACRON_VERSION=0.12.0; SIMULACRON_PATH names a jar that is there already, then nothing is fetched.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=environment.sh
. "$here/environment.sh"

version=${SIMULACRON_VERSION:-0.12.0}

fetch() { # JAR
    local part
    command -v mvn > /dev/null || fail "mvn is missing: install Maven, or set SIMULACRON_PATH"
    mkdir -p "$CASSANDRA_ROOT"
    part=$(mktemp -d "$1.part.XXXXXX")
    mvn --batch-mode --quiet org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
        "-Dartifact=com.datastax.oss.simulacron:simulacron-standalone:$version" "-DoutputDirectory=$part" \
        > "$part/maven.log" 2>&1 || fail "Maven failed: $(cat "$part/maven.log")"
    mv "$part/simulacron-standalone-$version.jar" "$1"
    rm -r "$part"
}

find_jar() {
    if [ -n "${SIMULACRON_PATH:-}" ]; then
        [ -f "$SIMULACRON_PATH" ] || fail "SIMULACRON_PATH: there is no file $SIMULACRON_PATH"
        jar=$SIMULACRON_PATH
    else
        jar=$CASSANDRA_ROOT/simulacron-standalone-$version.jar
        [ -f "$jar" ] || fetch "$jar"
    fi
}

case ${1:-} in
    path)
        find_jar
        say "$jar"
        ;;
    run)
        [ $# -eq 3 ] || fail "usage: simulacron.sh run ADDRESS PORT"
        find_java
        find_jar
        exec "$JAVA_HOME/bin/java" -Xmx256m -jar "$jar" -i "$2" -p "$3"
        ;;
    *) fail "usage: simulacron.sh path | run ADDRESS PORT" ;;
esac
