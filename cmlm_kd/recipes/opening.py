"""A recipe with the values that a user has set: what ``cmlm-kd run`` and ``cmlm-kd tune`` begin with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmlm_kd.errors import UserError
from cmlm_kd.recipes.expressions import GivenPath, Scope
from cmlm_kd.recipes.reading import Recipe, read_recipe
from cmlm_kd.recipes.run_folder import check_owner, write_resolved
from cmlm_kd.recipes.settings import read_values
from cmlm_kd.recipes.steps import Step, make_steps
from cmlm_kd.system.aside import check_place


@dataclass(frozen=True)
class OpenedRecipe:
    """A recipe, its values, and where it runs.

    Attributes:
        recipe: as it was read.
        values: of its settings.
        known: these, and what is known of the machine.
        folder: the run's, absolute.
        shown: the same as it stands in commands.
        steps: in an order in which they can run.
    """

    recipe: Recipe
    values: dict[str, Any]
    known: dict[str, Any]
    folder: Path
    shown: str
    steps: dict[str, Step]

    def check_folder(self) -> None:
        """Refuse a folder that cannot be written, or holds another run.

        Raises:
            UserError: naming the folder.
        """
        check_place(self.folder)
        check_owner(self.folder, self.recipe, self.values)

    def note(self) -> None:
        """Write what is run into the folder."""
        write_resolved(self.folder, self.recipe, self.known, self.steps)


def open_recipe(
    file: Path, given: Iterable[Iterable[str]], output: Path | None, machine: Mapping[str, Any]
) -> OpenedRecipe:
    """Read a recipe.

    Args:
        file: its path.
        given: ``KEY=VALUE`` of each setting that is set, as the command line groups them.
        output: the run's folder; None for the one that the recipe names.
        machine: names that depend on the machine.

    Raises:
        UserError: see :func:`cmlm_kd.recipes.reading.read_recipe` and
            :func:`cmlm_kd.recipes.steps.make_steps`.
    """
    recipe = read_recipe(file)
    values = read_values(recipe.file, recipe.settings, _given(given))
    known = {**values, **machine, "here": GivenPath(os.path.dirname(recipe.file) or ".")}
    scope = Scope(recipe.file, known, recipe.values, recipe.flags)
    shown = os.path.normpath(output or str(scope.value(recipe.output, "output")))
    if shown.startswith("-"):  # or commands would read it as a flag
        shown = os.path.join(".", shown)
    folder = Path(os.path.abspath(shown))
    return OpenedRecipe(recipe, values, known, folder, shown, make_steps(recipe, known, folder, shown))


def _given(options: Iterable[Iterable[str]]) -> dict[str, str]:
    """Return name -> text of all that was set."""
    given = {}
    for item in (item for items in options for item in items):
        name, equals, text = item.partition("=")
        if not equals:
            raise UserError(f"--set {item}: give KEY=VALUE, such as --set seed=2")
        given[name] = text
    return given
