"""Run any JVM server, unmodified, on low ports without root and without ever giving the port up.

    import jvmbind

    service = jvmbind.Service(user="www-data", listen={"http": 80}, java={"jar": "/srv/shop/shop.jar"})
    with service.start() as running:
        running.wait_ready()
        print(running.status())

`help(jvmbind.Service)` says what a service takes, `help(jvmbind.RunningService)` what can be done with one that runs;
`jvmbind.AsyncService` is the same for asyncio, and `jvmbind.connect("shop")` finds a service that runs already.

Imported by every role; imports nothing, so that what runs with privilege loads no more than it names. The public names
are loaded when they are first asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvmbind.config.tables import Control, Java, Security, Supervise
    from jvmbind.connected import ConnectedService, connect
    from jvmbind.embed import Listener, bind_listeners, drop_permanently, start_jvm
    from jvmbind.errors import (
        ArgumentTypeError,
        ArgumentValueError,
        ConfigurationError,
        JavaLaunchError,
        JvmbindError,
        NotPermittedError,
        PortUnavailableError,
        SystemFailureError,
        UsageError,
    )
    from jvmbind.service.asynchronous import AsyncOperation, AsyncRunningService
    from jvmbind.service.failures import (
        BusyError,
        ForeignHandleError,
        OperationFailedError,
        ReloadFailedError,
        RestartFailedError,
        ServiceEndedError,
        ServiceTimeoutError,
    )
    from jvmbind.service.running import Operation, RunningService
    from jvmbind.service.service import AsyncService, Service
    from jvmbind.service.values import ChangeResult, Death, Event, Generation, ListenerStatus, State, Status
    from jvmbind.shim import shim_jar
    from jvmbind.spec import ListenSpec, UserSpec

__version__ = "0.1.0"

__all__ = [
    "ArgumentTypeError",
    "ArgumentValueError",
    "AsyncOperation",
    "AsyncRunningService",
    "AsyncService",
    "BusyError",
    "ChangeResult",
    "ConfigurationError",
    "ConnectedService",
    "Control",
    "Death",
    "Event",
    "ForeignHandleError",
    "Generation",
    "Java",
    "JavaLaunchError",
    "JvmbindError",
    "ListenSpec",
    "Listener",
    "ListenerStatus",
    "NotPermittedError",
    "Operation",
    "OperationFailedError",
    "PortUnavailableError",
    "ReloadFailedError",
    "RestartFailedError",
    "RunningService",
    "Security",
    "Service",
    "ServiceEndedError",
    "ServiceTimeoutError",
    "State",
    "Status",
    "Supervise",
    "SystemFailureError",
    "UsageError",
    "UserSpec",
    "bind_listeners",
    "connect",
    "drop_permanently",
    "shim_jar",
    "start_jvm",
]

_PLACES = {
    "connected": {"ConnectedService", "connect"},
    "config.tables": {"Control", "Java", "Security", "Supervise"},
    "service.service": {"AsyncService", "Service"},
    "service.asynchronous": {"AsyncOperation", "AsyncRunningService"},
    "service.running": {"Operation", "RunningService"},
    "service.values": {"ChangeResult", "Death", "Event", "Generation", "ListenerStatus", "State", "Status"},
    "service.failures": {
        "BusyError",
        "ForeignHandleError",
        "OperationFailedError",
        "ReloadFailedError",
        "RestartFailedError",
        "ServiceEndedError",
        "ServiceTimeoutError",
    },
    "embed": {"Listener", "bind_listeners", "drop_permanently", "start_jvm"},
    "shim": {"shim_jar"},
    "spec": {"ListenSpec", "UserSpec"},
}


def __getattr__(name: str) -> object:
    """Load a public name from the module that has it (PEP 562)."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module  # noqa: PLC0415 - importing this package loads nothing

    place = next((module for module, names in _PLACES.items() if name in names), "errors")
    return getattr(import_module(f"jvmbind.{place}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
