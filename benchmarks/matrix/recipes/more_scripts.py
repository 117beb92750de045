"""Start scripts of Debian's packages and of other makers, run unmodified under `jvmbind wrap`.

Most of the packages are not on the machine: install them in a root file system that is thrown away. Imported by the package alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING

from exchanges import http_get, say
from recipe import Recipe, Site, sources

from recipes.scripts import ANY, ONCE
from support.artifacts import artifact

if TYPE_CHECKING:
    from collections.abc import Callable

_PAGE = "a page of the script"
_GROOVY = """
def server = com.sun.net.httpserver.HttpServer.create(new InetSocketAddress(80), 0)
server.createContext("/", { exchange ->
    def body = "a page of the script".bytes
    exchange.sendResponseHeaders(200, body.length)
    exchange.responseBody.write(body)
    exchange.close()
} as com.sun.net.httpserver.HttpHandler)
server.start()
"""
_CLOJURE = """
(import '[com.sun.net.httpserver HttpServer HttpHandler] '[java.net InetSocketAddress])
(doto (HttpServer/create (InetSocketAddress. 80) 0)
  (.createContext "/" (reify HttpHandler
    (handle [_ exchange]
      (let [body (.getBytes "a page of the script")]
        (.sendResponseHeaders exchange 200 (count body))
        (doto (.getResponseBody exchange) (.write body) (.close))))))
  (.start))
"""
_TANUKI = """
wrapper.java.command=%JAVA_HOME%/bin/java
wrapper.java.mainclass=org.tanukisoftware.wrapper.WrapperSimpleApp
wrapper.java.classpath.1={classes}
wrapper.java.classpath.2=/usr/share/java/wrapper.jar
wrapper.java.library.path.1=/usr/lib/jni
wrapper.app.parameter.1=probe.SocketServer
wrapper.app.parameter.2=*
wrapper.app.parameter.3=80
wrapper.console.loglevel=INFO
wrapper.logfile={base}/wrapper.log
wrapper.pidfile.strict=TRUE
"""


def tomcat_start(site: Site) -> list[str]:
    """Run what Debian's unit runs, on an instance that Debian's own command has made."""
    base = site.base / "tomcat"
    subprocess.run(["/usr/bin/tomcat10-instance-create", "-p", "80", str(base)], check=True, capture_output=True)
    site.environment |= {"CATALINA_BASE": str(site.own(base)), "CATALINA_HOME": "/usr/share/tomcat10"}
    return ["/usr/libexec/tomcat10/tomcat-start.sh"]


def interpreted(command: str, name: str, text: str, *before: str) -> Callable[[Site], list[str]]:
    """Run the start script of a language with a web server of a few lines in that language."""
    return lambda site: [command, *before, str(site.write(name, text))]


def served_folder(command: str, *arguments: str) -> Callable[[Site], list[str]]:
    """Run a command that serves a folder."""

    def prepare(site: Site) -> list[str]:
        folder = site.folder("www")
        site.write("www/index.html", _PAGE)
        site.cwd = folder
        return [command.format(java=site.jdk.home), *(word.format(folder=folder) for word in arguments)]

    return prepare


def spring_boot(action: str) -> Callable[[Site], list[str]]:
    """Make the executable jar that Spring Boot's `executable` makes: its launch script, and the jar behind it."""

    def prepare(site: Site) -> list[str]:
        with zipfile.ZipFile(site.jar()) as tools:
            script = tools.read("org/springframework/boot/loader/tools/launch.script").decode()
        while "{{" in script:  # {{name:default}}, as the build plugin fills them
            before, _, rest = script.partition("{{")
            inside, _, after = rest.partition("}}")
            script = before + inside.partition(":")[2] + after
        jar = example_jar()
        application = site.base / "app.jar"
        application.write_bytes(script.encode() + jar)
        application.chmod(0o755)
        os.chown(application, site.user.uid, site.user.gid)
        site.environment["MODE"] = "auto" if action == "run" else "service"
        site.environment |= {
            "PID_FOLDER": str(site.folder("run")),
            "LOG_FOLDER": str(site.folder("log")),
            "RUN_ARGS": "--server.port=80",
        }
        return [str(application), action]

    return prepare


def example_jar() -> bytes:
    """Return the executable jar of examples/spring-boot."""
    return (artifact("spring-boot") / "shop.jar").read_bytes()


def tanuki(action: str) -> Callable[[Site], list[str]]:
    """Give Debian's Java Service Wrapper a server of one class, by the daemon.sh that it ships."""

    def prepare(site: Site) -> list[str]:
        classes = site.folder("classes")
        files = [sources("probe") / "SocketServer.java", sources("probe") / "Wire.java"]
        subprocess.run([site.jdk.javac, "-d", classes, *files], check=True, capture_output=True)
        site.own(classes)
        conf = site.write("wrapper.conf", _TANUKI.format(classes=classes, base=site.base))
        site.environment |= {
            "WRAPPER_CONF": str(conf),
            "WRAPPER_CMD": "/usr/sbin/wrapper",
            "APP_NAME": "matrix",
            "APP_LONG_NAME": "matrix",
            "PIDDIR": str(site.folder("run")),
            "RUN_LEVEL": "20",
        }
        script = site.base / "matrix.sh"
        shutil.copy("/usr/share/wrapper/daemon.sh", script)
        script.chmod(0o755)
        return [str(script), action]

    return prepare


PAGE = http_get(body=_PAGE)

RECIPES = [
    Recipe(
        "tomcat10-unit",
        "Debian's Tomcat 10, `tomcat-start.sh`",
        tomcat_start,
        http_get(status=404),
        script=True,
        package="tomcat10",
    ),
    Recipe(
        "groovy",
        "Debian's Groovy, `groovy`",
        interpreted("/usr/share/groovy/bin/groovy", "a.groovy", _GROOVY),
        PAGE,
        script=True,
        package="groovy",
    ),
    Recipe(
        "clojure",
        "Debian's Clojure, `clojure`",
        interpreted("/usr/bin/clojure1.11", "a.clj", _CLOJURE),
        PAGE,
        script=True,
        package="clojure",
    ),
    Recipe(
        "jruby",
        "Debian's JRuby, `jruby -run -e httpd`",
        served_folder("/usr/bin/jruby", "-run", "-e", "httpd", "{folder}", "-p", "80", "-b", ANY),
        PAGE,
        listen=(f"{ANY}:80",),
        script=True,
        package="jruby",
    ),
    Recipe(
        "jython",
        "Debian's Jython, `jython` with SimpleHTTPServer",
        served_folder("/usr/bin/jython", "-m", "SimpleHTTPServer", "80"),
        PAGE,
        script=True,
        package="jython",
    ),
    Recipe(
        "jwebserver",
        "The JDK's `jwebserver`",
        served_folder("/bin/sh", "-c", f"exec $JAVA_HOME/bin/jwebserver -b {ANY} -p 80"),
        PAGE,
        listen=(f"{ANY}:80",),
        script=True,
        oldest=18,
    ),
    Recipe(
        "rmiregistry",
        "The JDK's `rmiregistry`",
        served_folder("/bin/sh", "-c", "exec $JAVA_HOME/bin/rmiregistry 109"),
        say(b"JRMI\0\x02K", b"N", b""),
        listen=("109",),
        script=True,
    ),
    Recipe(
        "boot-run",
        "Spring Boot 3's launch script, `app.jar run`",
        spring_boot("run"),
        http_get(),
        ("org.springframework.boot:spring-boot-loader-tools:3.4.1:jar",),
        script=True,
    ),
    Recipe(
        "boot-start",
        "Spring Boot 3's launch script, `app.jar start`",
        spring_boot("start"),
        http_get(),
        ("org.springframework.boot:spring-boot-loader-tools:3.4.1:jar",),
        script=True,
        own_stop="stop",
        options=("--reload", "restart"),
        needs=ONCE,
    ),
    Recipe(
        "tanuki-console",
        "Debian's Java Service Wrapper, `daemon.sh console`",
        tanuki("console"),
        http_get(),
        script=True,
        options=("--reload", "restart"),
        needs=ONCE,
        package="service-wrapper",
    ),
    Recipe(
        "tanuki-start",
        "Debian's Java Service Wrapper, `daemon.sh start`",
        tanuki("start"),
        http_get(),
        script=True,
        package="service-wrapper",
        own_stop="stop",
        options=("--reload", "restart"),
        needs=ONCE,
    ),
]
