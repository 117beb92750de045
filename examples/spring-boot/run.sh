#!/bin/sh
# A Spring Boot jar on port 80, which believes that it is on 8080. Build it first (see pom.xml), then run as root:
#
#   sh examples/spring-boot/run.sh JAR [USER]
exec jvmbind run -l http=80:8080 -u "${2:-nobody}" -- -jar "${1:?names the jar}"
