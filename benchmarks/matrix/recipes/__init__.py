"""The servers of the matrix, in the order in which they are run."""

from __future__ import annotations

from recipes import distributions, more_scripts, protocols, scripts, stores, web

RECIPES = [*web.RECIPES, *stores.RECIPES, *protocols.RECIPES, *scripts.RECIPES, *more_scripts.RECIPES, *distributions.RECIPES]
