"""A Python program with a JVM in it: how it ends, its children, real servers and libraries in it.

Run by pytest as root. Each program runs in a child process, in a network namespace of its own.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import procfs
from support.artifacts import artifact
from support.clients import http_get_when_served
from support.jdks import Jdk
from support.runner import Runner, as_user
from support.service import Service
from support.users import SERVICE_USER, User
from support.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.jvm]

START = """
import atexit, os, signal, sys, threading, time
import jvmbind
listeners = jvmbind.bind_listeners({"http": 80})
jvmbind.drop_permanently("www-data")
atexit.register(print, "atexit: before the JVM", flush=True)
jvmbind.start_jvm(listeners, java_home=sys.argv[1], options=["-cp", sys.argv[2], "-Xmx64m", "-XX:TieredStopAtLevel=1"], **SIGNALS)
import jpype
atexit.register(print, "atexit: after the JVM", flush=True)
Thread = jpype.JClass("java.lang.Thread")
"""

SERVER = """
HttpServer, Address = jpype.JClass("com.sun.net.httpserver.HttpServer"), jpype.JClass("java.net.InetSocketAddress")
server = HttpServer.create(Address(80), 0)
server.start()  # its thread is no daemon
jpype.JClass("java.lang.Runtime").getRuntime().addShutdownHook(jpype.JClass("probe.Hook")())
print("serving", flush=True)
"""

IN_JAVA = """
try:
    Thread.currentThread().join()
finally:
    server.stop(0)
    print("finally", flush=True)
"""

_FUTEX = {"202", "98"}  # on x86-64 and aarch64

_KCMP_VM, _KCMP_FILES = 1, 2  # linux/kcmp.h

AT_EXIT = ["atexit: after the JVM", "hook", "atexit: before the JVM"]


def start(runner: Runner, jdk: Jdk, rest: str, *, classes: str, signals: str = "") -> Service:
    """Start a program with a JVM in it; `signals` is that of start_jvm."""
    path = runner.workspace / "program.py"
    chosen = repr({"signals": signals} if signals else {})
    path.write_text(START.replace("**SIGNALS", f"**{chosen}") + rest)
    return runner.start([sys.executable, "-I", str(path), str(jdk.home), classes], stdin=subprocess.PIPE)


def said(service: Service) -> list[str]:
    """Return the lines after that which says that the server is there."""
    lines = service.stdout.splitlines()
    return lines[lines.index("serving") + 1 :]


def ended(service: Service) -> int:
    """Wait for the end and return the status as Python has it: below 0 for a signal, which 128 plus its number is not."""
    service.wait(60)
    return int(service.process.returncode)


def wait_in_java(service: Service) -> None:
    """Wait until the main thread sleeps in Java: on a futex."""
    status = f"/proc/{service.pid}/syscall"
    wait_until(lambda: Path(status).read_text(encoding="ascii").split()[0] in _FUTEX, 30, "the main thread to wait")


@pytest.mark.parametrize(
    ("rest", "status", "lines"),
    [
        ("sys.exit(3)", 3, AT_EXIT),
        ("raise ValueError('x')", 1, AT_EXIT),
        ("atexit.register(server.stop, 0)", 0, AT_EXIT),
        ("jpype.JClass('java.lang.System').exit(4)", 4, ["hook"]),
    ],
    ids=["sys.exit", "exception", "the end", "System.exit"],
)
def test_exit(runner: Runner, jdk: Jdk, probes: Path, rest: str, status: int, lines: list[str]) -> None:
    """sys.exit, an exception and the end run atexit and Java's hooks, give Python's status, and wait for no server's thread."""
    service = start(runner, jdk, SERVER + rest, classes=str(probes))
    service.quiet = False

    assert service.wait() == status, service.report()
    assert said(service) == lines
    wait_until(lambda: not service.processes(), 10, "the end of the process that answers")


@pytest.mark.parametrize("waits", ["in Java", "in Python"])
def test_ctrl_c(runner: Runner, jdk: Jdk, probes: Path, waits: str) -> None:
    """Ctrl-C is KeyboardInterrupt where the main thread waits in Java too; `finally` can use Java, and the end is SIGINT's."""
    rest = IN_JAVA if waits == "in Java" else IN_JAVA.replace("Thread.currentThread().join()", "time.sleep(1000)")
    service = start(runner, jdk, SERVER + rest, classes=str(probes))
    service.quiet = False
    service.expect("^serving$")
    if waits == "in Java":
        wait_in_java(service)
    os.kill(service.pid, signal.SIGINT)

    assert ended(service) == -signal.SIGINT, service.report()
    assert said(service) == ["finally", *AT_EXIT]
    assert service.stderr.rstrip().endswith("KeyboardInterrupt")


def test_handler_of_the_program(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """A handler of the signal module runs, and can end the program, while the main thread waits in Java; it can return too."""
    handlers = """
signal.signal(signal.SIGHUP, lambda *_: print("hangup", flush=True))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
try:
    Thread.currentThread().join()
except jpype.JClass("java.lang.InterruptedException"):
    print("interrupted", flush=True)
"""
    service = start(runner, jdk, SERVER + handlers + IN_JAVA, classes=str(probes))
    service.expect("^serving$")
    wait_in_java(service)
    os.kill(service.pid, signal.SIGHUP)
    service.expect("^interrupted$")
    wait_in_java(service)
    os.kill(service.pid, signal.SIGTERM)

    assert service.wait() == 5, service.report()
    assert said(service) == ["hangup", "interrupted", "finally", *AT_EXIT]


@pytest.mark.parametrize(
    ("signals", "number", "status", "lines"),
    [("python", signal.SIGTERM, -15, []), ("java", signal.SIGTERM, 143, ["hook"]), ("java", signal.SIGINT, 130, ["hook"])],
)
def test_signal_without_a_handler(
    runner: Runner, jdk: Jdk, probes: Path, signals: str, number: signal.Signals, status: int, lines: list[str]
) -> None:
    """SIGTERM ends the program as any of Python's, or with signals="java" by Java's hooks and 128 plus the signal."""
    service = start(runner, jdk, SERVER + "time.sleep(1000)", classes=str(probes), signals=signals)
    service.expect("^serving$")
    os.kill(service.pid, number)

    assert ended(service) == status, service.report()
    assert said(service) == lines
    wait_until(lambda: not service.processes(), 10, "the end of the process that answers")


JETTY = """
Server = jpype.JClass("org.eclipse.jetty.server.Server")
server = Server(80)
server.setHandler(jpype.JClass("org.eclipse.jetty.server.handler.DefaultHandler")())
server.start()
print("serving", flush=True)
try:
    server.join()
finally:
    server.stop()
    print("finally", server.getState(), flush=True)
"""

TOMCAT = """
Tomcat = jpype.JClass("org.apache.catalina.startup.Tomcat")
server = Tomcat()
server.setBaseDir(sys.argv[3])
server.setPort(80)
server.getConnector()
server.addContext("", sys.argv[3])
server.start()
print("serving", flush=True)
try:
    signal.pause()  # Server.await() of Tomcat goes on after an interrupt
finally:
    server.stop()
    print("finally", server.getServer().getStateName(), flush=True)
"""


@pytest.mark.servers
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["jetty-embedded", "tomcat-embedded"])
def test_real_server(runner: Runner, jdk: Jdk, workspace: Path, name: str) -> None:
    """Jetty and Tomcat in a Python program serve the low port, and Ctrl-C stops them in order, for Jetty in its own join."""
    base = workspace / "base"
    base.mkdir()
    shutil.chown(base, SERVICE_USER)
    program = (JETTY if name.startswith("jetty") else TOMCAT).replace("sys.argv[3]", repr(str(base)))
    service = start(runner, jdk, program, classes=f"{artifact(name)}/*")
    service.quiet = False
    service.expect("^serving$", timeout=60)
    assert http_get_when_served(runner.network, 80, "/nothing").status == 404
    os.kill(service.pid, signal.SIGINT)

    assert ended(service) == -signal.SIGINT, service.report()
    assert said(service)[0] == "finally STOPPED"
    assert service.stderr.rstrip().endswith("KeyboardInterrupt")


LIBRARIES = """
import jpype.dbapi2
connection = jpype.JClass("java.sql.DriverManager").getConnection("jdbc:h2:mem:shop")
statement = connection.createStatement()
statement.execute("create table item(id int primary key, name varchar(20))")
statement.execute("insert into item values (1, 'tea'), (2, 'coffee')")
rows = statement.executeQuery("select name from item order by id")
names = []
while rows.next():
    names.append(str(rows.getString(1)))
J = jpype.JClass
directory = J("org.apache.lucene.store.ByteBuffersDirectory")()
writer = J("org.apache.lucene.index.IndexWriter")(directory, J("org.apache.lucene.index.IndexWriterConfig")())
for name in names:
    document = J("org.apache.lucene.document.Document")()
    document.add(J("org.apache.lucene.document.StringField")("name", name, J("org.apache.lucene.document.Field.Store").YES))
    writer.addDocument(document)
writer.close()
reader = J("org.apache.lucene.index.DirectoryReader").open(directory)
searcher = J("org.apache.lucene.search.IndexSearcher")(reader)
query = J("org.apache.lucene.search.TermQuery")(J("org.apache.lucene.index.Term")("name", "coffee"))
print(names, searcher.count(query), reader.numDocs(), flush=True)
server = J("org.h2.tools.Server").createTcpServer("-tcpPort", "80", "-tcpAllowOthers", "-ifNotExists")
server.start()
print("serving", server.getPort(), flush=True)
sys.exit(7)
"""


def test_libraries(runner: Runner, jdk: Jdk) -> None:
    """H2 and Lucene work in a Python program; H2's server is handed the low port, and its threads hold no exit up."""
    service = start(runner, jdk, LIBRARIES, classes=f"{artifact('h2')}/*:{artifact('lucene')}/*")
    service.quiet = False  # Lucene says that it does without the module of vectors

    assert service.wait(60) == 7, service.report()
    assert service.stdout.splitlines()[:2] == ["['tea', 'coffee'] 1 2", "serving 80"]


CHILDREN = """
import multiprocessing, os, subprocess, sys, threading
import jvmbind

def square(number):
    return number * number, "jpype" in sys.modules and os.getuid()

def ask(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return sorted(pool.map(square, range(3)))[-1][0]

def send(pipe):
    pipe.send(os.getuid())

def fork_and_exit(status):
    child = os.fork()
    if child == 0:
        sys.exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

if __name__ == "__main__":
    for method in ("fork", "spawn"):  # a forkserver would keep root's rights
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context(method).Process(target=send, args=(there,))
        process.start()
        print("before", method, here.recv(), flush=True)
        process.join()
    listeners = jvmbind.bind_listeners({"http": 80})
    jvmbind.drop_permanently("www-data")
    jvmbind.start_jvm(listeners, java_home=sys.argv[1], options=["-Xmx64m"])
    import jpype
    server = jpype.JClass("com.sun.net.httpserver.HttpServer").create(jpype.JClass("java.net.InetSocketAddress")(80), 0)
    server.start()
    for method in ("fork", "spawn", "forkserver"):
        print("after", method, ask(method), flush=True)
    print("fork and exit", fork_and_exit(6), flush=True)
    print("subprocess", subprocess.run([sys.executable, "-I", "-c", "print(1)"], capture_output=True, text=True).stdout.strip())
    found = []
    threads = [threading.Thread(target=lambda: found.append(str(jpype.JClass("java.util.UUID").randomUUID()))) for _ in range(8)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    print("threads", len(set(found)), flush=True)
    sys.exit(8)
"""


def test_children(runner: Runner, jdk: Jdk) -> None:
    """Each method of multiprocessing before and after the JVM's start, a bare fork, subprocess and threads work and end."""
    path = runner.workspace / "program.py"
    path.write_text(CHILDREN)
    service = runner.start([sys.executable, "-I", str(path), str(jdk.home)])
    service.quiet = False

    assert service.wait(120) == 8, service.report()
    assert service.stdout.splitlines() == [
        *(f"before {method} 0" for method in ("fork", "spawn")),
        *(f"after {method} 4" for method in ("fork", "spawn", "forkserver")),
        "fork and exit 6",
        "subprocess 1",
        "threads 8",
    ]
    wait_until(lambda: not service.processes(), 10, "the end of all children")


CLOSED = """
import ctypes, os, sys
import jvmbind
ctypes.CDLL(sys.argv[1])
try:
    jvmbind.drop_permanently("www-data")
except jvmbind.ConfigurationError as error:
    print(os.getuid(), error)
"""


def test_interpreter_that_the_user_cannot_read(runner: Runner, workspace: Path) -> None:
    """A libpython in a closed folder, as of pyenv or uv below /root, is found before the drop and named; nothing is given up."""
    closed = workspace / "closed"
    closed.mkdir(mode=0o700)
    library = closed / "libpython3.99.so.1.0"
    (source,) = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/libz.so" in line} or {""}
    shutil.copy(source, library)
    path = workspace / "program.py"
    path.write_text(CLOSED)
    service = runner.start([sys.executable, "-I", str(path), str(library)])

    assert service.wait() == 0, service.report()
    assert service.stdout == (
        f"0 interpreter's library {library}: user {SERVICE_USER} may not enter {closed}; "
        "expected that right (chmod o+x), or another place\n"
    )


ARGUMENTS = """
import sys
import jvmbind
def refused(call, *args, **more):
    try:
        call(*args, **more)
    except (TypeError, ValueError) as error:
        print(type(error).__name__, error.argument, "|", error)
    else:
        print("taken", args, more)
spec = jvmbind.ListenSpec("http", "tcp", port=80)
refused(jvmbind.bind_listeners, [80], user=33)
refused(jvmbind.bind_listeners, "81")
refused(jvmbind.drop_permanently, 33)
refused(jvmbind.start_jvm, "http")
refused(jvmbind.start_jvm, [80])
refused(jvmbind.start_jvm, [(spec, 3)])
refused(jvmbind.start_jvm, options="-Xmx1g")
refused(jvmbind.start_jvm, options=[1])
refused(jvmbind.start_jvm, java_home=17)
refused(jvmbind.start_jvm, strict_binds="no")
refused(jvmbind.start_jvm, inherit=1)
refused(jvmbind.start_jvm, inherit="x")
refused(jvmbind.start_jvm, signals="Python")
refused(jvmbind.start_jvm, signals=True)
refused(jvmbind.start_jvm, signals="java", options=["-Xrs"])
"""


def test_arguments(runner: Runner, workspace: Path) -> None:
    """A wrong argument is a TypeError or a ValueError that begins with its name, before anything is done."""
    path = workspace / "program.py"
    path.write_text(ARGUMENTS)
    service = runner.start([sys.executable, "-I", str(path)])

    assert service.wait() == 0, service.report()
    lines = service.stdout.splitlines()
    assert len(lines) == 15
    wrong = [line for line in lines if line.split()[0] not in {"ArgumentTypeError", "ArgumentValueError"}]
    assert wrong == []
    for line in lines:
        _, argument, _, message = line.split(" ", 3)
        assert message.startswith(f"{argument}: "), line
    assert [line.split()[1] for line in lines][:6] == ["user", "listen", "user", "listeners", "listeners[0]", "listeners[0]"]


def test_the_process_that_answers(runner: Runner, jdk: Jdk, probes: Path, service_user: User) -> None:
    """One process answers for life: dropped as the program is, with its descriptors, other memory, and closed to the user."""
    service = start(runner, jdk, SERVER + "time.sleep(1000)", classes=str(probes))
    service.expect("^serving$")
    names = {pid: Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() for pid in service.processes()}
    (answers,) = [pid for pid, name in names.items() if name == "jvmbind-respond"]
    assert set(names) == {service.pid, answers}

    for pid in names:
        procfs.assert_dropped(pid, uid=service_user.uid, gid=service_user.gid)
    assert not same(service.pid, answers, _KCMP_VM)
    assert same(service.pid, answers, _KCMP_FILES)
    threads = {path.read_text(encoding="utf-8").strip() for path in Path(f"/proc/{answers}/task").glob("*/comm")}
    assert threads == {"jvmbind-respond"}
    code = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(0x4206, {answers}, 0, 0), os.strerror(ctypes.get_errno()))  # PTRACE_SEIZE
open("/proc/{answers}/mem", "rb")
"""
    command = [*as_user(SERVICE_USER), sys.executable, "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "-1 Operation not permitted\n"
    assert done.stderr.endswith(f"PermissionError: [Errno 13] Permission denied: '/proc/{answers}/mem'\n")

    os.kill(service.pid, signal.SIGTERM)
    assert ended(service) == -signal.SIGTERM


def same(one: int, other: int, what: int) -> bool:
    """Whether two processes share a thing: kcmp(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(272 if os.uname().machine == "aarch64" else 312, one, other, what, 0, 0)
    assert result >= 0, os.strerror(ctypes.get_errno())
    return bool(result == 0)
