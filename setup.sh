#!/bin/bash
# Sets jvmbind up on this machine: what Debian packages are missing, then a virtual environment with
# jvmbind installed in it. Run as root. Prints the environment's path on standard output, and all else
# on standard error.
#
#   bash setup.sh          what running jvmbind needs
#   bash setup.sh --demo   also the server that examples/demo.sh runs
#   bash setup.sh --dev    also what tests/run.sh needs
#
# The environment is made from /usr/bin/python3 and lies outside the checkout: a service user must be
# able to execute the interpreter and read the package, and a checkout below /root denies both. For the
# same reason jvmbind is installed as a wheel, not in place. A second run does only what has changed since.
#
# JVMBIND_PREFIX   where to put it; default /opt/jvmbind/ and a number made of the checkout's path
set -eu
umask 022

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

demo=
dev=
for argument in "$@"; do
    case $argument in
        --demo) demo=1 ;;
        --dev) dev=1 ;;
        *) printf 'usage: %s [--demo] [--dev]\n' "$0" >&2; exit 64 ;;
    esac
done

[ "$(id -u)" = 0 ] || die "this installs Debian packages and must be run as root"

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
prefix=${JVMBIND_PREFIX:-/opt/jvmbind/$(printf %s "$checkout" | sha256sum | cut -c1-12)}
venv=$prefix/venv
python=$venv/bin/python

. "$checkout/progress.sh"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Runs a command whose output nobody needs unless it fails.
quietly() {
    progress "$scratch/log" setup "$@" || {
        mkdir -p "$prefix"
        cp "$scratch/log" "$prefix/setup.log"
        # apt-get, pip and the compiler begin the line that says why in these ways.
        why=$(grep -aE '^ *(E:|ERROR:|error:|[^ ]+: (fatal )?error:)' "$scratch/log" | head -n 1)
        die "this failed: ${1##*/}: ${why:-$(tail -n 1 "$scratch/log")} (all that it said: $prefix/setup.log)"
    }
}

# --- Debian packages ---------------------------------------------------------------------------------

missing=()
need() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] ||
            missing+=("$package")
    done
}

{ command -v dpkg-query && command -v apt-get; } > /dev/null ||
    die "this needs Debian 12 or newer: there is no apt-get here"
# python-prctl and systemd-python come as C sources: gcc and what follows it.
need ca-certificates curl iproute2 procps util-linux python3 python3-venv python3-dev gcc libc6-dev libcap-dev \
    pkg-config libsystemd-dev
# Any JDK will do that has javac; Debian 12's own is 17.
"${JAVA_HOME:+$JAVA_HOME/bin/}javac" -version > /dev/null 2>&1 || javac -version > /dev/null 2>&1 ||
    need default-jdk-headless
[ -z "$demo$dev" ] || need tomcat10-user
if [ -n "$dev" ]; then
    # A script of Debian's and a systemd are run by tests, in a namespace without a network.
    need derby-tools systemd dbus make shellcheck
    # The manual is formatted, and each completion is asked by its own shell.
    need groff-base zsh fish
    # Containers are run by both runtimes, without an engine; a rolling update has a balancer in front.
    need crun runc haproxy
    # What the fonts of an image's Java are linked with; Debian 13's JDK only recommends them.
    need libfreetype6 libharfbuzz0b
    # The compilers of policies; neither makes a policy active on this machine.
    need apparmor checkpolicy semodule-utils
    command -v mvn > /dev/null || need maven
fi
if [ ${#missing[@]} -gt 0 ]; then
    say "installing Debian packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # A source that this machine cannot reach is no reason to stop: the next command needs what it needs.
    progress "$scratch/log" setup apt-get -q update || say "apt-get update: $(grep '^E:' "$scratch/log" | head -1)"
    quietly apt-get -q -y -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}"
fi

/usr/bin/python3 -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "this needs Python 3.11 or newer, /usr/bin/python3 is $(/usr/bin/python3 -V)"

# --- The environment ---------------------------------------------------------------------------------

directory=$prefix
while [ ! -e "$directory" ]; do directory=$(dirname "$directory"); done
while [ "$directory" != / ]; do
    case $(stat -c %A "$directory") in
        *[xt]) ;;
        *) die "other users cannot enter $directory: choose another JVMBIND_PREFIX" ;;
    esac
    directory=$(dirname "$directory")
done

mkdir -p "$prefix"
exec 9> "$prefix/.lock"
flock 9 # two set-ups at once: the second waits, and then finds everything done

# The stamp of a step names all that its result depends on.
done_already() { [ "$(cat "$prefix/.$1" 2>/dev/null || true)" = "$2" ]; }
mark_done() { printf '%s\n' "$2" > "$prefix/.$1"; }

stamp=$(/usr/bin/python3 -V)
if ! done_already venv "$stamp" || ! "$python" -I -c '' 2>/dev/null; then
    say "making a virtual environment in $venv"
    rm -rf "$venv" "$prefix"/.venv "$prefix"/.requirements* "$prefix"/.wheel
    quietly /usr/bin/python3 -I -m venv "$venv"
    mark_done venv "$stamp"
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
# A caller's settings that would change where pip installs, or from what.
unset PIP_TARGET PIP_PREFIX PIP_USER PIP_EDITABLE PIP_REQUIRE_VIRTUALENV PYTHONHOME PYTHONPATH
cd "$prefix"

# Without network where all is there. --use-pep517: python-prctl and systemd-python have a setup.py
# only, and pip's other way to build these wants the package wheel, which a new environment lacks.
pip_install() { quietly "$python" -I -m pip install --progress-bar off --use-pep517 "$@"; }

"$python" -I - "$checkout/pyproject.toml" "$scratch" <<'PYTHON'
"""Writes the requirements of pyproject.toml into files that pip of any version takes."""
import pathlib
import sys
import tomllib

project = tomllib.loads(pathlib.Path(sys.argv[1]).read_text("utf-8"))
scratch = pathlib.Path(sys.argv[2])
run = project["build-system"]["requires"] + project["project"]["dependencies"]
(scratch / "run").write_text("\n".join(run) + "\n", "utf-8")
(scratch / "dev").write_text("\n".join(project["dependency-groups"]["dev"]) + "\n", "utf-8")
PYTHON

for group in run ${dev:+dev}; do
    stamp=$(sha256sum < "$scratch/$group")
    if ! done_already "requirements-$group" "$stamp"; then
        say "installing Python packages for $([ "$group" = run ] && echo jvmbind || echo the tests)"
        pip_install -r "$scratch/$group"
        mark_done "requirements-$group" "$stamp"
    fi
done

# --- jvmbind -----------------------------------------------------------------------------------------

stamp=$(
    cd "$checkout"
    find jvmbind java-shim/src/main scripts pyproject.toml hatch_build.py LICENSE README.md -type f \
        ! -name '*.pyc' ! -name '_shim.jar*' -print0 2>/dev/null | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
)
if ! done_already wheel "$stamp"; then
    say "building and installing jvmbind"
    rm -rf "$prefix/dist"
    quietly "$python" -I -m pip wheel --no-deps --no-build-isolation --no-index --wheel-dir "$prefix/dist" "$checkout"
    pip_install --no-index --no-deps --force-reinstall "$prefix"/dist/jvmbind-*.whl
    mark_done wheel "$stamp"
fi

printf '%s\n' "$venv"
