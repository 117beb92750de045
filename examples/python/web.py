"""A FastAPI application that starts a Java server with itself, says how it is, reloads it and stops it at its own end.

JAVA="-jar server.jar" LISTEN=8080 uvicorn --app-dir examples/python web:app
"""

from __future__ import annotations

import contextlib
import os
import shlex
from typing import TYPE_CHECKING, Any

import fastapi

import jvmbind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[None]:
    """Serve nothing before Java does; a refusal of the start ends the application with its reason."""
    service = jvmbind.AsyncService(
        java={"arguments": shlex.split(os.environ["JAVA"])},
        listen={"http": os.environ.get("LISTEN", "8080")},
        user=os.environ.get("RUN_AS"),
        quiet=True,
    )
    async with await service.start(die_with_parent=True) as running:
        await running.wait_ready()
        app.state.java = running
        yield


app = fastapi.FastAPI(lifespan=lifespan)


def java(request: fastapi.Request) -> jvmbind.AsyncRunningService:
    """Return the handle, which is the event loop's."""
    running: jvmbind.AsyncRunningService = request.app.state.java
    return running


@app.get("/health")
async def health(request: fastapi.Request, response: fastapi.Response) -> dict[str, Any]:
    """Say how the Java server is: 200 where clients are served, else 503."""
    try:
        status = await java(request).status(timeout=5)
    except jvmbind.JvmbindError as error:
        raise fastapi.HTTPException(503, str(error)) from error
    response.status_code = 200 if status.ready else 503
    return {"state": status.state, "waits_for": status.waits_for, "deaths": len(status.deaths)}


@app.post("/reload")
async def reload(request: fastapi.Request) -> dict[str, Any]:
    """Reload it: 409 while another change is on its way, 502 where the old generation keeps serving."""
    try:
        result = await java(request).reload()
    except jvmbind.BusyError as error:
        raise fastapi.HTTPException(409, str(error)) from error
    except jvmbind.JvmbindError as error:
        raise fastapi.HTTPException(502, str(error)) from error
    return {"generation": result.generation, "seconds": result.seconds}
