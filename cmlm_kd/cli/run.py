"""``cmlm-kd run``: an experiment from its recipe, again only where something changed."""

import argparse
from pathlib import Path

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
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="the run's folder; the recipe names one, too"
    )
    parser.add_argument("--until", metavar="STEP", help="run this step and those that it needs, no others")
    parser.add_argument("--dry-run", action="store_true", help="print the commands in order and run nothing")
    parser.add_argument(
        "--lanes", type=int, metavar="N", help="steps side by side; 2 on a CPU with two threads, 1 on a GPU"
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the steps that are not done."""
    import signal
    import threading

    from cmlm_kd.recipes.engine import Engine
    from cmlm_kd.recipes.machine import Machine, shell_lines, threads_of
    from cmlm_kd.recipes.opening import open_recipe
    from cmlm_kd.recipes.run_folder import locked
    from cmlm_kd.recipes.steps import up_to
    from cmlm_kd.system.ranges import AT_LEAST_ONE, check_range

    if arguments.lanes is not None:
        check_range("--lanes", arguments.lanes, AT_LEAST_ONE)
    machine = Machine()
    opened = open_recipe(arguments.recipe, arguments.set, arguments.output, machine.names)
    selected = up_to(opened.steps, arguments.until)
    lanes = arguments.lanes or machine.lanes(selected.values())
    threads = threads_of(opened.steps, lanes, machine.threads)
    opened.check_folder()
    if arguments.dry_run:
        print("\n".join(shell_lines(selected, threads)))
        return
    with locked(opened.folder) as lock:
        opened.check_folder()
        opened.note()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
        Engine(opened.folder, opened.steps, threads, lock).run(selected, lanes)
