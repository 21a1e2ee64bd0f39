#!/bin/bash
# Builds Cassandra install directories out of Maven Central jars.
#
#   install.sh VERSION...        e.g. install.sh 4.1.10 5.0.9 4.0.19 3.11.19
#   FORCE=1 install.sh VERSION   builds it anew
#
# No binary release is needed: org.apache.cassandra:cassandra-all names all jars that a node needs, and the launcher and
# the configuration around them are the files in install/. `ccm create NAME --install-dir=DIR` accepts the result.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=environment.sh
. "$here/environment.sh"

copy_jars() { # VERSION DIRECTORY
    local thrift='' pom="$2/pom.xml"
    case $1 in 3.*) thrift="<dependency><groupId>org.apache.cassandra</groupId><artifactId>cassandra-thrift</artifactId><version>$1</version></dependency>" ;; esac
    cat > "$pom" << POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>cassandra-install</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.cassandra</groupId><artifactId>cassandra-all</artifactId><version>$1</version></dependency>
    $thrift
  </dependencies>
</project>
POM
    mvn --batch-mode --quiet -f "$pom" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$2/lib" > "$2/maven.log" 2>&1 ||
        fail "Maven failed: $(cat "$2/maven.log")"
    # native libraries of other platforms are half of the size
    rm -f "$2"/lib/*osx*.jar "$2"/lib/*windows*.jar "$2"/lib/*aarch_64*.jar "$2"/lib/*riscv64*.jar
}

# Settings whose names or values differ between versions: 4.1 moved the unit from the name into the value.
version_settings() { # VERSION
    local name
    for name in read_request range_request write_request counter_write_request request; do
        case $1 in
            3.* | 4.0.*) say "${name}_timeout_in_ms: 10000" ;;
            *) say "${name}_timeout: 10000ms" ;;
        esac
    done
    case $1 in
        3.*) printf '%s\n' "key_cache_size_in_mb: 8" "commitlog_sync_batch_window_in_ms: 1" "start_rpc: false" "disk_access_mode: standard" ;;
        4.0.*) say "key_cache_size_in_mb: 8" ;;
        *) say "key_cache_size: 8MiB" ;;
    esac
}

# NodeTool 3.11 dies in a static initialiser on Java 9 and later, unless a configuration is set before it is loaded.
add_nodetool_starter() { # DIRECTORY
    local classes
    classes=$(mktemp -d)
    "$JAVA_HOME/bin/javac" --release 11 -cp "$1/lib/*" -d "$classes" "$here/install/NodeToolStarter.java"
    "$JAVA_HOME/bin/jar" --create --file "$1/lib/nodetool-starter.jar" -C "$classes" NodeToolStarter.class
    rm -r "$classes"
    sed -i 's/org\.apache\.cassandra\.tools\.NodeTool/NodeToolStarter/' "$1/bin/nodetool"
}

# Changes when this script or a file in install/ does: directories made by an older recipe are built anew.
recipe() { (cd "$here" && find install.sh install -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum); }

build() { # VERSION
    local version=$1 final part
    final=$(install_directory "$version")
    if [ -z "${FORCE:-}" ] && is_installed "$version" && [ "$(cat "$final/recipe" 2> /dev/null)" = "$(recipe)" ]; then
        say "$final is there"
        return
    fi
    command -v mvn > /dev/null || fail "mvn is missing: install Maven"
    part=$final.part.$$
    rm -rf "$part"
    mkdir -p "$part/lib" "$part/tools/bin"
    cp -r "$here/install/bin" "$here/install/conf" "$part/"
    chmod +x "$part/bin/cassandra" "$part/bin/nodetool"
    version_settings "$version" >> "$part/conf/cassandra.yaml"
    sed -i "s#@INSTALL@#$final#g" "$part/conf/cassandra.yaml"
    copy_jars "$version" "$part"
    [ -e "$part/lib/cassandra-all-$version.jar" ] || fail "Maven brought no cassandra-all-$version.jar"
    case $version in 3.*) add_nodetool_starter "$part" ;; esac
    recipe > "$part/recipe"
    say "$version" > "$part/0.version.txt"
    rm -rf "$final"
    mv "$part" "$final"
    say "$final built, $(du -sh "$final" | cut -f1)"
}

[ $# -gt 0 ] || fail "usage: install.sh VERSION..."
find_java
mkdir -p "$CASSANDRA_ROOT"
for wanted in "$@"; do
    build "$wanted"
done
