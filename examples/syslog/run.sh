#!/bin/sh
# A syslog server on UDP port 514, from a source file, as an unprivileged user. Run as root:
#
#   sh examples/syslog/run.sh [USER]
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
exec jvmbind run -l syslog=514/udp -u "${1:-nobody}" -- "$here/Syslog.java"
