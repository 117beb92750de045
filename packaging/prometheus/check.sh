#!/bin/bash
# Checks with Prometheus' own promtool: the alert rules, the queries of the dashboard, and the metrics of a service that runs for it.
#
#   bash packaging/prometheus/check.sh
#
# Run as root on Debian. promtool comes from Debian's package prometheus, which is fetched and not installed, unless there is one.
set -eu
umask 022

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
venv=$(bash "$checkout/setup.sh" --dev)
scratch=$(mktemp -d /var/tmp/jvmbind-promtool.XXXXXX)
chmod 755 "$scratch"
service=
metrics=
# shellcheck disable=SC2154
trap 'for pid in $service $metrics; do kill "$pid" 2> /dev/null || true; wait "$pid" || true; done; rm -rf "$scratch"' EXIT

promtool=$(command -v promtool || true)
if [ -z "$promtool" ]; then
    (cd "$scratch" && apt-get -q -o APT::Sandbox::User=root download prometheus > /dev/null && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xf - ./usr/bin/promtool)
    promtool=$scratch/usr/bin/promtool
fi
"$promtool" check rules "$checkout/packaging/prometheus/jvmbind.rules.yml"
# The queries of the dashboard, as rules.
"$venv/bin/python" -I - "$checkout/packaging/prometheus/dashboard.json" > "$scratch/dashboard.yml" << 'PYTHON'
import json
import sys

panels = json.load(open(sys.argv[1], encoding="utf-8"))["panels"]
queries = [target["expr"].replace("$service", ".*") for panel in panels for target in panel["targets"]]
rules = [{"record": f"dashboard:query{number}", "expr": query} for number, query in enumerate(queries)]
print(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
PYTHON
"$promtool" check rules "$scratch/dashboard.yml"

javac --release 11 -d "$scratch/app" "$checkout/tests/java/servers/JdkServer.java"
mkdir -m 777 "$scratch/run"
as=(setpriv --reuid nobody --regid nogroup --clear-groups)
"${as[@]}" "$venv/bin/jvmbind" run -n shop -l 18080 --control-socket "$scratch/run/control" -- -cp "$scratch/app" servers.JdkServer 18080 \
    > "$scratch/log" 2>&1 &
service=$!
until [ "$("${as[@]}" "$venv/bin/jvmbind" status "$scratch/run/control" --field ready 2> /dev/null)" = true ]; do
    kill -0 "$service" || { cat "$scratch/log"; exit 1; }
done
"${as[@]}" "$venv/bin/jvmbind" reload "$scratch/run/control" > /dev/null 2>&1
"${as[@]}" "$venv/bin/jvmbind" metrics "$scratch/run/control" --serve 19641 &
metrics=$!
# promtool reads the older text format, which Prometheus gets that does not ask for OpenMetrics.
until curl -sf http://127.0.0.1:19641/metrics > "$scratch/metrics"; do kill -0 "$metrics"; done
"$promtool" check metrics < "$scratch/metrics"
printf 'metrics: ok (%s samples)\n' "$(grep -vc '^#' "$scratch/metrics")"
