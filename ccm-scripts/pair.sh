#!/bin/bash
# Two clusters of one node each: origin and target.
#
#   pair.sh start|stop|kill|status|wipe
#
# Environment: ORIGIN_VERSION=4.1.10 TARGET_VERSION=5.0.9 ORIGIN_ADDRESS=127.0.60.1 TARGET_ADDRESS=127.0.60.2
#   AUTH=password, or ORIGIN_AUTH / TARGET_AUTH for one of them; FRESH=1 stops and wipes before start; and all that
#   node.sh start takes, for both nodes. Missing install directories are built.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=environment.sh
. "$here/environment.sh"

origin_version=${ORIGIN_VERSION:-4.1.10}
target_version=${TARGET_VERSION:-5.0.9}

both() { # COMMAND
    local failed=0 first
    "$here/node.sh" "$1" origin &
    first=$!
    "$here/node.sh" "$1" target || failed=$?
    wait "$first" || failed=$?
    return "$failed"
}

start() {
    local failed=0 first
    "$here/install.sh" "$origin_version" "$target_version"
    if [ -n "${FRESH:-}" ]; then
        both stop
        both wipe
    fi
    AUTH=${ORIGIN_AUTH-${AUTH:-}} "$here/node.sh" start origin "$origin_version" "${ORIGIN_ADDRESS:-127.0.60.1}" &
    first=$!
    AUTH=${TARGET_AUTH-${AUTH:-}} "$here/node.sh" start target "$target_version" "${TARGET_ADDRESS:-127.0.60.2}" || failed=$?
    wait "$first" || failed=$?
    return "$failed"
}

case ${1:-} in
    start) start ;;
    stop | kill | status | wipe) both "$1" ;;
    *) fail "usage: pair.sh start|stop|kill|status|wipe" ;;
esac
