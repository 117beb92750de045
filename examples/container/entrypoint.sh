#!/bin/sh
# Entry point of a container image: jvmbind is PID 1, binds the port with the one capability that the container has
# (docker run --cap-drop=ALL --cap-add=NET_BIND_SERVICE --cap-add=SETUID --cap-add=SETGID), drops, reaps, and passes on SIGTERM.
#
#   FROM eclipse-temurin:25
#   RUN apt-get update && apt-get install -y --no-install-recommends python3-venv ... && python3 -m venv /opt/jvmbind && ...
#   COPY app.jar entrypoint.sh /srv/
#   ENTRYPOINT ["/bin/sh", "/srv/entrypoint.sh"]
exec jvmbind run -l "${LISTEN:-80}" -u "${RUN_AS:-nobody}" -- "$@"
