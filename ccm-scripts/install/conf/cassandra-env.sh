# shellcheck shell=sh disable=SC2034,SC2154  # sourced by bin/cassandra, which uses JVM_OPTS and sets the rest
# ccm, and node.sh beside these scripts, rewrite the next line
JMX_PORT="7199"
JVM_OPTS="${JVM_OPTS:-} -ea -Xms${INIT_HEAP_SIZE:-128M} -Xmx${MAX_HEAP_SIZE:-512M} -Xss512k -XX:+UseSerialGC"
JVM_OPTS="$JVM_OPTS -XX:MaxDirectMemorySize=256M -XX:+PerfDisableSharedMem -Djava.net.preferIPv4Stack=true"
JVM_OPTS="$JVM_OPTS -Dcassandra.jmx.local.port=$JMX_PORT -Dio.netty.tryReflectionSetAccessible=true"
for jamm in "$CASSANDRA_HOME"/lib/jamm-*.jar; do
    [ ! -e "$jamm" ] || JVM_OPTS="$JVM_OPTS -javaagent:$jamm"
done
if [ "$JAVA_MAJOR" -ge 17 ]; then
    options="$CASSANDRA_CONF/jvm11-server.options $CASSANDRA_CONF/jvm17-server.options"
else
    options=$CASSANDRA_CONF/jvm11-server.options
fi
# shellcheck disable=SC2013,SC2086  # one option a line, no blanks in them; a list of files
for option in $(grep -h '^-' "$CASSANDRA_CONF/jvm-server.options" $options); do
    JVM_OPTS="$JVM_OPTS $option"
done
