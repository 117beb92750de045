#!/bin/bash
# Puts jvmbind, the JPype that Debian lacks, the manual and the completions below a folder as they are to be installed.
# Run by debian/rules:  stage.sh FOLDER
#
# /usr/lib/jvmbind is a virtual environment of Debian's own interpreter: scripts/jvmbind finds it beside itself, starts it
# isolated, and nothing of /usr/local is looked at. All of it belongs to root.
set -eu
umask 022

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
root=$1
home=$root/usr/lib/jvmbind
site=$home/lib/python3/site-packages
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
# dpkg-buildpackage passes a builder's environment on; pip is to install where it is told to.
unset PIP_TARGET PIP_PREFIX PIP_USER PYTHONHOME PYTHONPATH

mkdir -p "$home/bin" "$site"
/usr/bin/python3 -I -m venv "$scratch/venv"
python=$scratch/venv/bin/python
"$python" -I -m pip install -q 'hatchling>=1.27,<2'
"$python" -I -m pip wheel -q --no-deps --no-build-isolation --wheel-dir "$scratch" "$checkout"
"$python" -I -m zipfile -e "$scratch"/jvmbind-*.whl "$site"
install -m 755 "$site"/jvmbind-*.data/scripts/jvmbind "$home/bin/jvmbind"
rm -r "$site"/jvmbind-*.data

# One JPype for each Python of the distributions that this package is for, side by side: the interpreter takes the extension
# that has its name.
case $(dpkg --print-architecture) in
    amd64) machine=x86_64 ;;
    arm64) machine=aarch64 ;;
    *) printf 'stage: jvmbind runs on amd64 and arm64\n' >&2; exit 1 ;;
esac
for version in 3.11 3.13; do
    mkdir "$scratch/$version"
    "$python" -I -m pip download -q --no-deps --only-binary=:all: --implementation cp --python-version "$version" \
        --platform "manylinux_2_28_$machine" --require-hashes -r "$checkout/packaging/deb/jpype.txt" -d "$scratch/$version"
    "$python" -I -m zipfile -e "$scratch/$version"/*.whl "$scratch/$version/site"
    mv "$scratch/$version/site/_jpype.so" "$site/_jpype.cpython-${version/./}-$machine-linux-gnu.so"
    ln -s python3 "$home/lib/python$version"
done
# What reads packages (importlib.metadata) needs no list of files; a tool of packagers is not needed either.
rm -r "$scratch/3.13/site/jpype/_pyinstaller"
cp -r "$scratch/3.13/site/." "$site/"
rm -f "$site"/*.dist-info/RECORD "$site"/*.dist-info/entry_points.txt "$site"/*.dist-info/INSTALLER
# The licence is that of all Debian's copies, which debian/copyright names.
rm -rf "$site"/*.dist-info/licenses

ln -s /usr/bin/python3 "$home/bin/python"
printf 'home = /usr/bin\ninclude-system-site-packages = false\n' > "$home/pyvenv.cfg"
# python3-prctl and python3-systemd: the folder alone, none of the .pth files in it.
echo /usr/lib/python3/dist-packages > "$site/debian.pth"
mkdir -p "$root/usr/bin"
ln -s ../lib/jvmbind/bin/jvmbind "$root/usr/bin/jvmbind"

PYTHONPATH=$site:/usr/lib/python3/dist-packages PYTHONDONTWRITEBYTECODE=1 \
    /usr/bin/python3 -s "$checkout/packaging/pages" "$root/usr/share"
find "$root" -name __pycache__ -prune -exec rm -r {} +
chmod -R u=rwX,go=rX "$root/usr"
chmod 755 "$home/bin/jvmbind"
