"""Run any JVM server, unmodified, on low ports without root and without ever giving the port up.

Imported by every role; imports nothing, so that what runs with privilege loads no more than it names.
"""

from __future__ import annotations

__version__ = "0.1.0"
