"""Learning curves as a picture and as the table behind it."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.training_log import ValidationPoint
from cmlm_kd.system.files import written_aside

Curves = Mapping[str, Sequence[ValidationPoint]]
"""Student -> its validations."""

# measure -> (label of the axis, whether more is better)
_PANELS = {"bleu": ("validation BLEU", True), "nll_loss": ("validation NLL (bits a token)", False)}
# Colours that the colour-blind tell apart, and markers for paper without colour.
_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"))


def shared_measures(curves: Curves) -> list[str]:
    """Return which measures every student has: BLEU, negative log-likelihood or both.

    Raises:
        UserError: there is none.
    """
    names = [name for name in _PANELS if all(any(name in p.measures for p in c) for c in curves.values())]
    if not names:
        raise UserError(f"the logs of {', '.join(curves)} share neither bleu nor nll_loss; nothing to draw")
    return names


def write_csv(path: Path, curves: Curves) -> None:
    """Write one line a validation: student, updates, epoch and every measure that all students have."""
    names = shared_measures(curves)
    with written_aside(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["student", "updates", "epoch", *names])
        for student, points in curves.items():
            for point in points:
                values = [point.measures.get(name, "") for name in names]
                writer.writerow([student, point.updates, point.epoch, *values])


def write_png(path: Path, curves: Curves) -> None:
    """Draw one panel a measure, each student's best validation filled."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = shared_measures(curves)
    figure = Figure(figsize=(5.5 * len(names), 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for name, axes in zip(names, panels, strict=True):
        label, more_is_better = _PANELS[name]
        for number, (student, points) in enumerate(curves.items()):
            colour, marker = _STYLES[number % len(_STYLES)]
            measured = [(point.updates, point.measures[name]) for point in points if name in point.measures]
            best = (max if more_is_better else min)(measured, key=lambda pair: pair[1])
            updates, values = zip(*measured, strict=True)
            axes.plot(
                updates,
                values,
                color=colour,
                marker=marker,
                markerfacecolor="none",
                markersize=4,
                label=student,
            )
            axes.plot(*best, color=colour, marker=marker, markersize=7)
        axes.set_xlabel("updates")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    panels[0].legend(frameon=False)
    with written_aside(path) as partial:
        figure.savefig(partial, format="png", dpi=150, metadata={"Software": None})
