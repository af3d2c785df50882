"""``cmlm-kd tune``: settings of a recipe's training, chosen on the validation set within a budget."""

from __future__ import annotations

import argparse
from pathlib import Path

from cmlm_kd.errors import UserError

HELP = "choose settings of a recipe's training on its validation set, within a budget of updates"
GOES_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("recipe", type=Path, help="such as examples/translation/selective.yaml")
    parser.add_argument("--step", required=True, metavar="STEP", help="the training, such as distilled")
    parser.add_argument(
        "--vary",
        action="append",
        nargs="+",
        required=True,
        metavar="KEY=VALUES",
        help="settings to choose: KEY=V1,V2,... or, of numbers, KEY=LOW..HIGH",
    )
    parser.add_argument(
        "--budget", type=int, required=True, metavar="N", help="updates of all trials together"
    )
    parser.add_argument("--metric", default="nll_loss", help="as validation logs it: nll_loss, bleu, ...")
    parser.add_argument("--maximize", action="store_true", help="more is better, as of bleu")
    parser.add_argument("--rungs", type=int, default=3, metavar="N", help="how often trials are compared")
    parser.add_argument(
        "--factor", type=int, default=3, metavar="N", help="one of N goes on from a rung, N times as long"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the order of trials")
    parser.add_argument(
        "--set",
        action="append",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="other settings of the recipe",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="the run's folder; the recipe names one, too"
    )


def run(arguments: argparse.Namespace) -> None:
    """Make what trials share, run them, and print their table, what was spent and the best."""
    import contextlib
    import signal
    import threading

    from cmlm_kd.evaluation.training_log import best_value
    from cmlm_kd.recipes.engine import Engine
    from cmlm_kd.recipes.machine import Machine, threads_of
    from cmlm_kd.recipes.opening import open_recipe
    from cmlm_kd.recipes.processes import Processes
    from cmlm_kd.recipes.run_folder import locked
    from cmlm_kd.recipes.search_space import as_flags, check_budget, read_space, rungs_of
    from cmlm_kd.recipes.study import Study
    from cmlm_kd.recipes.tuning import FOLDER, LOG, TunedStep, Tuning, best_of
    from cmlm_kd.system.ranges import between, check_range

    check_range("--rungs", arguments.rungs, between(1, 10))
    check_range("--factor", arguments.factor, between(2, 10))
    machine = Machine()
    opened = open_recipe(arguments.recipe, arguments.set, arguments.output, machine.names)
    space = read_space(opened.recipe, [item for items in arguments.vary for item in items])
    step = TunedStep(opened.recipe, opened.known, opened.folder, opened.shown, opened.steps, arguments.step)
    rungs = rungs_of(step.most, arguments.rungs, arguments.factor)
    check_budget(arguments.budget, rungs)
    step.check(space)
    threads = threads_of(opened.steps, 1, machine.threads)[step.first]
    purpose = {
        "step": arguments.step,
        "vary": sorted(item for items in arguments.vary for item in items),
        "metric": arguments.metric,
        "rungs": list(rungs),
        "factor": arguments.factor,
        "command": step.steps(space.first(), "a", 1)[arguments.step].absolute_command,
    }
    opened.check_folder()
    with locked(opened.folder) as lock, contextlib.ExitStack() as ended:
        opened.check_folder()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
        opened.note()
        (opened.folder / FOLDER).mkdir(parents=True, exist_ok=True)
        study = Study(
            opened.folder / FOLDER / "study.journal",
            space,
            purpose,
            rungs,
            arguments.factor,
            maximize=arguments.maximize,
            seed=arguments.seed,
        )
        if step.shared:
            Engine(opened.folder, opened.steps, threads_of(opened.steps, 1, machine.threads), lock).run(
                step.shared, machine.lanes(step.shared.values())
            )
        processes = Processes(lock)
        ended.callback(processes.close)
        ended.callback(processes.end_all)

        def measure(log: Path) -> float:
            return best_value(log, arguments.metric, minimize=not arguments.maximize)

        tuning = Tuning(step, study, rungs, measure, processes, threads, lambda line: print(line, flush=True))
        before = study.spent
        tuning.run(arguments.budget)
        table = tuning.write_table()
    print(aligned(tuning.rows()))
    best = best_of(study.records, maximize=arguments.maximize)
    print(
        f"\nspent {study.spent:,} of {arguments.budget:,} updates, {study.spent - before:,} of them and "
        f"{tuning.seconds:.0f} s in this call; the table is in {table}"
    )
    if best is None:
        raise UserError("no trial has reached the first rung; raise --budget")
    print(
        f"best after {best.updates:,} updates: {arguments.metric} {best.reached[best.updates]:g}, "
        f"{opened.folder / FOLDER}/trial-{best.number:03}/{LOG}\n--set {as_flags(best.values)}"
    )


def aligned(rows: list[list[str]]) -> str:
    """Return rows as columns of text, the first as their heads."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
    return "\n".join(lines)
