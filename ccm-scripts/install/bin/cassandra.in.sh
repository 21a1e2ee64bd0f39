# shellcheck shell=sh disable=SC2034  # sourced by its neighbours, which use what it sets
# Where the installation is. ccm replaces the two lines that assign home and configuration as a whole: they stand alone.
if [ -z "${CASSANDRA_HOME:-}" ]; then
    CASSANDRA_HOME=$(cd "$(dirname "$0")/.." && pwd)
fi
if [ -z "${CASSANDRA_CONF:-}" ]; then
    CASSANDRA_CONF=$CASSANDRA_HOME/conf
fi
CLASSPATH="$CASSANDRA_CONF:$CASSANDRA_HOME/lib/*"
# ccm reads the next line
java_versions_supported=11,17
JAVA=${JAVA_HOME:+$JAVA_HOME/bin/}java
JAVA_MAJOR=$("$JAVA" -version 2>&1 | sed -n 's/.* version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p' | head -n 1)
