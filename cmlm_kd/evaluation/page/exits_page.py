"""The page of a FastBERT: accuracy against speed-up, and after which layers inputs leave."""

from __future__ import annotations

from collections.abc import Sequence

from cmlm_kd.early_exit.calibration import ExitCurve
from cmlm_kd.early_exit.choices import ExitChoice, choices_rows
from cmlm_kd.evaluation.page.charts import Chart, Point, Series
from cmlm_kd.evaluation.page.rendering import render
from cmlm_kd.evaluation.page.translations import evenly_spread

POINTS = 200
"""Thresholds of the curve that the page has at most; those in between look the same."""


def exits_page(
    curve: ExitCurve,
    choices: Sequence[ExitChoice],
    marked: ExitChoice,
    *,
    source: str,
    signature: str | None,
) -> str:
    """Return the page as HTML.

    Args:
        curve: of the labelled set.
        choices: rows of the table: thresholds, which have a histogram, and fixed layers, which have none.
        marked: the threshold that the page begins with.
        source: of the examples.
        signature: of the distillation, where there was one.
    """
    kept = evenly_spread(len(curve.thresholds), POINTS)
    line = [Point(float(curve.speedup[k]), 100 * float(curve.accuracy[k]), "") for k in kept]
    thresholds = [choice for choice in choices if choice.histogram is not None]
    others = [choice for choice in choices if choice.histogram is None]
    series = [
        Series("every threshold", 0, line, dotted=False),
        Series("all after one layer", 2, [_point(choice) for choice in others], joined=False),
        Series(
            "thresholds of the table",
            1,
            [_point(choice, stands_out=True) for choice in thresholds],
            joined=False,
        ),
    ]
    chart = Chart(
        "Accuracy against speed-up",
        "speed-up (operations of all layers / operations)",
        "accuracy (%)",
        series,
    )
    places = [chart.place(point) for point in line]
    return render(
        "exits",
        title="Early exits",
        chart=chart,
        rows=choices_rows(choices),
        source=source,
        examples=int(curve.histogram[0].sum()),
        signature=signature,
        data={
            "start": _nearest(curve, kept, marked.threshold or 0.0),
            "points": [
                {
                    "threshold": round(float(curve.thresholds[k]), 4),
                    "accuracy": round(100 * float(curve.accuracy[k]), 2),
                    "speedup": round(float(curve.speedup[k]), 3),
                    "left": curve.histogram[k].tolist(),
                    "place": place,
                }
                for k, place in zip(kept, places, strict=True)
            ],
        },
    )


def _point(choice: ExitChoice, *, stands_out: bool = False) -> Point:
    accuracy = 100 * choice.accuracy
    text = f"{choice.name}: accuracy {accuracy:.2f} %, {choice.speedup:.2f} times as fast"
    return Point(choice.speedup, accuracy, text, stands_out)


def _nearest(curve: ExitCurve, kept: Sequence[int], threshold: float) -> int:
    """Return which of the kept points has the threshold nearest to one."""
    return min(range(len(kept)), key=lambda place: abs(float(curve.thresholds[kept[place]]) - threshold))
