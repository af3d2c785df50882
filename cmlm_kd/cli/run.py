"""``cmlm-kd run``: an experiment from its recipe, again only where something changed."""

import argparse
from pathlib import Path

from cmlm_kd.errors import UserError

HELP = "run a recipe, a YAML file of steps; what is done already is not done again"
GOES_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("recipe", type=Path, help="such as examples/translation/numbers.yaml")
    parser.add_argument(
        "--set",
        action="append",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the recipe; the file says which there are",
    )
    parser.add_argument("--output", metavar="DIR", help="the run's folder; the recipe names one, too")
    parser.add_argument("--until", metavar="STEP", help="run this step and those that it needs, no others")
    parser.add_argument("--dry-run", action="store_true", help="print the commands in order and run nothing")
    parser.add_argument(
        "--lanes", type=int, metavar="N", help="steps side by side; 2 on a CPU with two threads, 1 on a GPU"
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the steps that are not done."""
    import os
    import signal
    import threading

    from cmlm_kd.recipes.engine import Engine
    from cmlm_kd.recipes.expressions import GivenPath, Scope
    from cmlm_kd.recipes.machine import Machine, shell_lines, threads_of
    from cmlm_kd.recipes.reading import read_recipe
    from cmlm_kd.recipes.run_folder import check_owner, locked, write_resolved
    from cmlm_kd.recipes.settings import read_values
    from cmlm_kd.recipes.steps import make_steps, up_to
    from cmlm_kd.system.aside import check_place
    from cmlm_kd.system.ranges import AT_LEAST_ONE, check_range

    recipe = read_recipe(arguments.recipe)
    values = read_values(recipe.file, recipe.settings, _given(arguments.set))
    if arguments.lanes is not None:
        check_range("--lanes", arguments.lanes, AT_LEAST_ONE)
    machine = Machine()
    known = {**values, **machine.names, "here": GivenPath(os.path.dirname(recipe.file) or ".")}
    scope = Scope(recipe.file, known, recipe.values, recipe.flags)
    shown = os.path.normpath(arguments.output or str(scope.value(recipe.output, "output")))
    folder = Path(os.path.abspath(shown))
    steps = make_steps(recipe, known, folder, shown)
    selected = up_to(steps, arguments.until)
    lanes = arguments.lanes or machine.lanes(selected.values())
    threads = threads_of(steps, lanes, machine.threads)
    check_place(folder)
    check_owner(folder, recipe, values)
    if arguments.dry_run:
        print("\n".join(shell_lines(selected, threads)))
        return
    with locked(folder) as lock:
        check_owner(folder, recipe, values)
        write_resolved(folder, recipe, known, steps)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
        Engine(folder, steps, threads, lock).run(selected, lanes)


def _given(options: list[list[str]]) -> dict[str, str]:
    """Return name -> text of all that was set."""
    given = {}
    for item in (item for items in options for item in items):
        name, equals, text = item.partition("=")
        if not equals:
            raise UserError(f"--set {item}: give KEY=VALUE, such as --set seed=2")
        given[name] = text
    return given
