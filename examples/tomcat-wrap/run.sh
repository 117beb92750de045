#!/bin/sh
# Tomcat on port 80 by its own start script, which is left as it is. Run as root:
#
#   CATALINA_HOME=/opt/tomcat CATALINA_BASE=/srv/tomcat sh examples/tomcat-wrap/run.sh [USER]
#
# conf/server.xml says <Connector port="80"; or leave it at 8080 and set LISTEN=80:8080.
: "${CATALINA_HOME:?names the directory of Tomcat}"
: "${CATALINA_BASE:=$CATALINA_HOME}"
export CATALINA_BASE
exec jvmbind wrap -l "http=${LISTEN:-80}" -u "${1:-tomcat}" -e CATALINA_BASE -- "$CATALINA_HOME/bin/catalina.sh" run
