"""Start a Java server from Python, and say what happens to it until Ctrl-C.

sudo $(bash setup.sh)/bin/python examples/python/follow.py --user www-data --listen 80 -- -jar server.jar
"""

from __future__ import annotations

import argparse
import signal
import sys

import jvmbind


def main() -> int:
    """Run it; the exit status is the service's."""
    parser = argparse.ArgumentParser(description="start a Java server and say what happens to it")
    parser.add_argument("--user", help="who it runs as")
    parser.add_argument("--listen", type=int, default=8080, help="its port")
    parser.add_argument("--java-home", help="the Java runtime")
    parser.add_argument("java", nargs="+", help="what stands after `java`")
    options = parser.parse_args()
    java: jvmbind.Java = {"arguments": options.java}
    if options.java_home:
        java["home"] = options.java_home
    service = jvmbind.Service(user=options.user, listen={"http": options.listen}, java=java, quiet=True)
    with service.start(die_with_parent=True) as running:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: running.stop())
        try:
            running.wait_ready()
        except jvmbind.PortUnavailableError as error:
            print(f"port {options.listen} is taken by {error.holder or 'somebody'}", file=sys.stderr)
            return error.status
        for event in running.events():
            print(event, flush=True)
        return running.wait()


if __name__ == "__main__":
    sys.exit(main())
