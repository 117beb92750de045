# Sourced by setup.sh and tests/run.sh; defines one function.
# shellcheck shell=bash

# progress LOG NAME COMMAND...: runs the command with its output in the file LOG, and says on standard error every
# few seconds how long it has been at it and what it said last. The status is the command's.
progress() {
    local log=$1 name=$2 watcher status=0
    shift 2
    : > "$log"
    (
        trap 'exit 0' TERM
        start=$SECONDS
        # A read that times out, and not sleep(1), which would outlive this shell when it is ended.
        exec {never}<> <(:)
        while ! read -rt 4 -u "$never" _ && kill -0 $$ 2> /dev/null; do
            said=$(tail -c 2000 "$log" | tr -d '\000-\010\013-\037\177' | grep . | tail -n 1 | cut -c1-100)
            printf '%s: %d s%s\n' "$name" $((SECONDS - start)) "${said:+: $said}"
        done
    ) >&2 < /dev/null &
    watcher=$!
    "$@" > "$log" 2>&1 < /dev/null || status=$?
    kill "$watcher" 2> /dev/null || true
    wait "$watcher" 2> /dev/null || true
    return "$status"
}
