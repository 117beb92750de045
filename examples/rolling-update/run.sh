#!/bin/sh
# Rolling updates of replicas behind HAProxy, under load, with jvmbind and with plain java: see rolling.py, which gets the
# arguments. Run as root, with jvmbind, haproxy and a JDK installed; uses network and mount namespaces of its own.
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
[ "$(id -u)" = 0 ] || { echo 'run.sh: network namespaces need root' >&2; exit 77; }
for program in jvmbind haproxy javac; do
    command -v "$program" > /dev/null || { printf 'run.sh: %s is not installed\n' "$program" >&2; exit 69; }
done
JAVA_HOME=${JAVA_HOME:-$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")}
# shellcheck disable=SC2016
exec unshare --net --mount --propagation private sh -c '
    mkdir -p /run/jvmbind && mount -t tmpfs -o mode=755 tmpfs /run/jvmbind && ip link set lo up && exec "$@"' \
    sh /usr/bin/python3 -I "$here/rolling.py" --java-home "$JAVA_HOME" "$@"
