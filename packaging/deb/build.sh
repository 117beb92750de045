#!/bin/bash
# Builds the Debian package, for Debian 12 and 13 alike, from this checkout into a folder (default: dist/ of the checkout).
#
#   bash packaging/deb/build.sh [FOLDER]
#
# Needs build-essential, debhelper, a JDK, python3-venv, python3-prctl and python3-systemd, and PyPI for hatchling and JPype (by digest). Runs as
# anybody. VERSION=... in the environment is the version of the Debian package, where that is not to be the checkout's;
# DEBFULLNAME and DEBEMAIL say who maintains it, and are to be set for a package that is published.
set -eu
umask 022

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
folder=${1:-$checkout/dist}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd -P)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tree=$scratch/jvmbind
mkdir "$tree"

# What is under version control, or an unpacked sdist as it is.
cd "$checkout"
if git rev-parse --git-dir > /dev/null 2>&1; then
    git ls-files -z | tar --null --no-recursion -T - -cf - | tar -xf - -C "$tree"
    epoch=$(git log -1 --format=%ct)
else
    cp -a . "$tree"
    epoch=$(stat -c %Y jvmbind/__init__.py)
fi
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$epoch}

cp -a packaging/deb/debian "$tree/debian"
version=${VERSION:-$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' jvmbind/__init__.py)-1}
maintainer="${DEBFULLNAME:-jvmbind maintainers} <${DEBEMAIL:-maintainers@localhost}>"
sed -i "s/@MAINTAINER@/$maintainer/" "$tree/debian/control"
{
    printf 'jvmbind (%s) unstable; urgency=medium\n\n' "$version"
    printf '  * What has changed is in CHANGELOG.md.\n\n'
    printf ' -- %s  %s\n' "$maintainer" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
} > "$tree/debian/changelog"

cd "$tree"
dpkg-buildpackage --build=binary --no-sign --no-pre-clean > "$scratch/log" 2>&1 || {
    cat "$scratch/log" >&2
    printf 'build: dpkg-buildpackage failed\n' >&2
    exit 1
}
package=$(ls "$scratch"/jvmbind_*.deb)
if command -v lintian > /dev/null; then
    private=()
    # The address of a package that nobody publishes leads nowhere.
    [ -n "${DEBEMAIL-}" ] || private=(--suppress-tags 'bogus-mail-host,bogus-mail-host-in-debian-changelog')
    lintian --allow-root --fail-on error "${private[@]}" "$package"
fi
mv "$package" "$folder/"
printf '%s\n' "$folder/${package##*/}"
