"""Accuracy against speed-up, and after which layer inputs leave, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cmlm_kd.early_exit.calibration import ExitCurve
from cmlm_kd.early_exit.choices import ExitChoice
from cmlm_kd.system.files import written_aside

# Colours that the colour-blind tell apart.
_CURVE, _CHOSEN, _DEPTHS = "#0072B2", "#D55E00", "#009E73"


def write_exit_plot(
    path: Path, curve: ExitCurve, chosen: ExitChoice, depths: Sequence[ExitChoice] = ()
) -> None:
    """Draw all thresholds' accuracy against their speed-up, and the exits of the chosen one.

    Args:
        path: PNG to write; it appears when it is complete.
        curve: of the examples.
        chosen: the threshold to mark, with a histogram.
        depths: leaving all inputs after the same layer, for comparison.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot(curve.speedup, 100 * curve.accuracy, color=_CURVE, linewidth=1.5, label="thresholds")
    if depths:
        left.plot(
            [choice.speedup for choice in depths],
            [100 * choice.accuracy for choice in depths],
            color=_DEPTHS,
            marker="^",
            linestyle="none",
            label="all after one layer",
        )
    left.plot(chosen.speedup, 100 * chosen.accuracy, color=_CHOSEN, marker="o", label=chosen.name)
    left.set_xlabel("speed-up (operations of all layers / operations)")
    left.set_ylabel("accuracy")
    left.grid(alpha=0.3)
    left.legend(frameon=False)
    counts = chosen.histogram or ()
    right.bar(range(1, len(counts) + 1), [100 * count / sum(counts) for count in counts], color=_CHOSEN)
    right.set_xticks(range(1, len(counts) + 1))
    right.set_xlabel(f"layer after which inputs leave, {chosen.name}")
    right.set_ylabel("% of the inputs")
    with written_aside(path) as partial:
        figure.savefig(partial, format="png", dpi=150, metadata={"Software": None})
