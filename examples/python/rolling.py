"""Reload several services of this machine one after the other, from asyncio, and stop at the first that fails.

sudo $(bash setup.sh)/bin/python examples/python/rolling.py shop search mail
"""

from __future__ import annotations

import asyncio
import sys

import jvmbind


async def reload(name: str) -> jvmbind.ChangeResult:
    """Reload one service that runs already; the control socket is asked in a thread, for it may take minutes."""
    with jvmbind.connect(name) as service:
        return await asyncio.to_thread(service.reload)


async def main(names: list[str]) -> int:
    """Reload them; the exit status says whether all were."""
    for name in names:
        try:
            result = await reload(name)
        except jvmbind.JvmbindError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return error.status
        print(f"{name}: {result}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
