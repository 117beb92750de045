#!/bin/bash
# Serves Debian's own Tomcat on port 80, and the JDK's HttpServer on port 81, as the user www-data; prints
# the proof that none of their threads has any privilege; stays up until Ctrl-C. Run as root on Debian 12.
#
#   bash examples/demo.sh            sets everything up first (setup.sh)
#   bash examples/demo.sh --once     stops after the proof; status 0 only if all of it held
#   bash examples/demo.sh --netns    in a network namespace of its own, so that the host's ports are not used
set -eu
umask 022

once=
netns=
for argument in "$@"; do
    case $argument in
        --once) once=1 ;;
        --netns) netns=1 ;;
        *) printf 'usage: %s [--once] [--netns]\n' "$0" >&2; exit 64 ;;
    esac
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
user=www-data
failed=0

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n== %s\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }
check() { # check TEXT COMMAND...: a fact that the proof needs
    local text=$1
    shift
    if "$@"; then printf '  ok: %s\n' "$text"; else printf '  FAILED: %s\n' "$text"; failed=1; fi
}

# --- Set up, with the machine's own network ----------------------------------------------------------

if [ -z "${JVMBIND_DEMO_VENV:-}" ]; then
    JVMBIND_DEMO_VENV=$(bash "$here/../setup.sh" --demo)
    export JVMBIND_DEMO_VENV
    if [ -n "$netns" ]; then
        # shellcheck disable=SC2016
        exec unshare --net sh -c 'ip link set lo up && exec bash "$@"' sh "$here/demo.sh" "$@"
    fi
fi

for port in 80 81; do
    holder=$(ss -Hltnp "sport = :$port")
    [ -z "$holder" ] || die "port $port is taken on this machine: $(sed 's/.*users:/by /; s/ *$//' <<< "$holder" | tr '\n' ' ')
      (--netns runs the demo in a network of its own)"
done

# --- The servers, as they come but for the port ------------------------------------------------------

work=$(dirname "$JVMBIND_DEMO_VENV")/demo
rm -rf "$work"
mkdir -p "$work"
cp -r /usr/share/tomcat10/skel "$work/tomcat"
mkdir -p "$work/tomcat/webapps/ROOT"
cp "$here/demo/index.jsp" "$work/tomcat/webapps/ROOT/"
sed -i 's/Connector port="8080"/Connector port="80"/' "$work/tomcat/conf/server.xml"
install -d -o "$user" -m 755 "$work/tomcat/logs" "$work/tomcat/temp" "$work/tomcat/work"

javac=${JAVA_HOME:-/nowhere}/bin/javac
[ -x "$javac" ] || javac=javac
"$javac" -d "$work/hello" "$here/demo/Hello.java"

say "Tomcat $(dpkg-query -W -f '${Version}' tomcat10-common), all of Debian's configuration but for one line:"
diff /usr/share/tomcat10/skel/conf/server.xml "$work/tomcat/conf/server.xml" | grep '^[<>]' || true

jvmbind=$JVMBIND_DEMO_VENV/bin/jvmbind
tomcat=(
    -cp /usr/share/tomcat10/bin/bootstrap.jar:/usr/share/tomcat10/bin/tomcat-juli.jar
    "-Dcatalina.home=/usr/share/tomcat10" "-Dcatalina.base=$work/tomcat" "-Djava.io.tmpdir=$work/tomcat/temp"
    "-Djava.util.logging.config.file=$work/tomcat/conf/logging.properties"
    -Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager
    org.apache.catalina.startup.Bootstrap start
)
hello=(-cp "$work/hello" Hello 81)

pids=()
interrupted=
stop() { # ends what is running and waits for it
    local pid status
    for pid in "${pids[@]}"; do kill -TERM "$pid" 2> /dev/null || true; done
    for pid in "${pids[@]}"; do
        status=0
        wait "$pid" || status=$?
        # 143 is what java itself ends with on SIGTERM.
        check "process $pid ended with status $status" [ "$status" = 143 ]
    done
    pids=()
}
trap 'interrupted=1' INT TERM
trap '[ ${#pids[@]} = 0 ] || { kill -TERM "${pids[@]}" 2> /dev/null || true; wait; }' EXIT

say "Starting, as root:"
run() { # run LOG ARGUMENTS...
    local log=$1
    shift
    printf '  jvmbind'
    printf ' %q' "$@"
    printf '\n'
    # A session of its own: Ctrl-C is for this script, which then ends the servers as a service manager does.
    setsid "$jvmbind" "$@" > "$log" 2>&1 < /dev/null &
    pids+=($!)
}
run "$work/tomcat.log" run -l 80 -u "$user" -n demo-tomcat -- "${tomcat[@]}"
run "$work/hello.log" run -l 81 -u "$user" -n demo-hello -- "${hello[@]}"

started=$SECONDS
answers() { curl -fs -m 3 "http://127.0.0.1:$1/" > /dev/null; }
for port in 80 81; do
    deadline=$((SECONDS + 60))
    until answers "$port"; do
        [ -z "$interrupted" ] || break 2
        for pid in "${pids[@]}"; do
            if ! kill -0 "$pid" 2> /dev/null; then
                tail -n 30 "$work"/*.log >&2
                die "a server ended before it answered"
            fi
        done
        if [ "$SECONDS" -ge "$deadline" ]; then
            tail -n 30 "$work"/*.log >&2
            die "no answer on port $port within 60 seconds"
        fi
        # The port is held already, so curl has waited in its queue.
        printf '  no answer on port %s yet, %s s\n' "$port" $((SECONDS - started))
        sleep 0.2
    done
done

# --- The proof ---------------------------------------------------------------------------------------

if [ -z "$interrupted" ]; then
    say "The answers:"
    for port in 80 81; do
        printf '  $ curl http://127.0.0.1:%s/\n  ' "$port"
        curl -fsS -m 20 "http://127.0.0.1:$port/" | tee "$work/answer" || true
        check "answered on port $port as $user" grep -q "on port $port, as user $user" "$work/answer"
    done

    say "Who they are:"
    check "no thread has an id of root or a capability" /usr/bin/python3 -I "$here/demo/proof.py" "$user" "${pids[@]}"

    say "Who holds the ports:"
    ss -ltnp '( sport = :80 or sport = :81 )'
    for pid in "${pids[@]}"; do
        check "process $pid, the supervisor, holds its port" \
            grep -q "pid=$pid," <(ss -Hltnp '( sport = :80 or sport = :81 )')
    done

    say "Another user who wants port 80:"
    bind='
import errno, socket, sys
try:
    socket.socket().bind(("127.0.0.2", 80))
except OSError as error:
    print(f"  nobody: {error}")
    sys.exit(error.errno not in (errno.EACCES, errno.EADDRINUSE))
sys.exit(1)
'
    check "refused" setpriv --reuid nobody --regid nogroup --clear-groups /usr/bin/python3 -I -c "$bind"
fi

if [ -n "$once" ] || [ -n "$interrupted" ]; then
    say "Stopping:"
    stop
    [ -z "$once" ] || [ -z "$interrupted" ] || failed=1
    say "$([ "$failed" = 0 ] && echo 'All of it held.' || echo 'Not all of it held.')"
    exit "$failed"
fi

say "Serving on port 80 (Tomcat) and 81 (HttpServer); logs in $work. Ctrl-C stops both."
[ "$failed" = 0 ] || printf 'demo: a part of the proof failed, see above\n' >&2
while [ -z "$interrupted" ]; do
    for pid in "${pids[@]}"; do
        kill -0 "$pid" 2> /dev/null || die "a server has ended: see $work"
    done
    sleep 1 || true
done
say "Stopping:"
stop
exit 0
