"""Charts as percentages of a drawing area, so that a browser draws them at any width without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

_MARGIN = 0.04
"""Share of the values' range that is left free on either side."""


@dataclass(frozen=True)
class Point:
    """A measured value.

    Attributes:
        x, y: finite.
        text: what is said of it, in words.
        stands_out: drawn larger and filled.
    """

    x: float
    y: float
    text: str
    stands_out: bool = False


@dataclass(frozen=True)
class Series:
    """Points that belong together.

    Attributes:
        name: of whatever was measured.
        colour: number of its colour; equal ones belong to the same student.
        points: in the order in which they are joined.
        joined: by a line.
        dotted: show the points.
    """

    name: str
    colour: int
    points: Sequence[Point]
    joined: bool = True
    dotted: bool = True


@dataclass(frozen=True)
class Axis:
    """A range of values and where on it to write numbers.

    Attributes:
        label: what is measured, and in which unit.
        low, high: ends of the axis, ``low < high``.
    """

    label: str
    low: float
    high: float

    @classmethod
    def around(cls, label: str, values: Sequence[float]) -> Axis:
        """Return the axis of one value or more."""
        low, high = min(values), max(values)
        margin = (high - low) * _MARGIN or abs(low) * _MARGIN or 1.0
        return cls(label, low - margin, high + margin)

    def place(self, value: float) -> float:
        """Return where a value is, in per cent of the axis."""
        return round(100 * (value - self.low) / (self.high - self.low), 3)

    @cached_property
    def ticks(self) -> list[tuple[float, str]]:
        """Where numbers stand, in per cent of the axis, and these numbers."""
        from matplotlib.ticker import MaxNLocator

        found = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        inside = [float(value) for value in found if self.low <= value <= self.high]
        return [(self.place(value), f"{value:,.10g}") for value in inside]


@dataclass(frozen=True)
class Chart:
    """Series on two axes.

    Attributes:
        title: what is shown.
        x_label, y_label: of the axes.
        series: with at least one point together.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]

    @cached_property
    def x(self) -> Axis:
        """The horizontal axis."""
        return Axis.around(self.x_label, [point.x for each in self.series for point in each.points])

    @cached_property
    def y(self) -> Axis:
        """The vertical axis."""
        return Axis.around(self.y_label, [point.y for each in self.series for point in each.points])

    def place(self, point: Point) -> tuple[float, float]:
        """Return where a point is, in per cent from the left and from the top."""
        return self.x.place(point.x), round(100 - self.y.place(point.y), 3)

    def line(self, series: Series) -> str:
        """Return the path of a series in a drawing area of 100 by 100."""
        places = (self.place(point) for point in series.points)
        return " ".join(f"{'L' if number else 'M'}{x:g} {y:g}" for number, (x, y) in enumerate(places))
