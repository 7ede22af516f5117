"""What a dated recipe fixes: a module each, side by side. Needs no torch until a model is built."""

from __future__ import annotations

from laneb.model.recipes import house, nanochat_2026_02, nanochat_2026_07
from laneb.model.recipes.recipe import Recipe

HOUSE = house.RECIPE.name
"""What specs mean that were written before there were recipes."""

RECIPES: dict[str, Recipe] = {
    module.RECIPE.name: module.RECIPE for module in (house, nanochat_2026_02, nanochat_2026_07)
}


def recipe_named(name: str) -> Recipe:
    """The recipe that `LANE_B_RECIPE` names.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in RECIPES:
        raise ValueError(f"recipe {name!r}: there is no such recipe. Known are {', '.join(RECIPES)}")
    return RECIPES[name]
