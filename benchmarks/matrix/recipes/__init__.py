"""The servers of the matrix, in the order in which they are run."""

from __future__ import annotations

from recipes import web

RECIPES = [*web.RECIPES]
