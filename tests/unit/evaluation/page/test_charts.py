"""Charts: places in per cent, ticks inside the axis, one value alone."""

import pytest

from cmlm_kd.evaluation.page.charts import Axis, Chart, Point, Series


def test_values_keep_their_order_and_distances_inside_the_axis():
    axis = Axis.around("updates", [100.0, 200.0, 500.0])
    places = [axis.place(value) for value in (100, 200, 500)]
    assert places[0] > 0 and places[2] < 100
    assert (places[2] - places[0]) == pytest.approx(4 * (places[1] - places[0]), abs=0.01)
    ticks = dict(axis.ticks)
    assert list(ticks.values()) == ["100", "200", "300", "400", "500"]
    assert axis.ticks[1][0] == places[1]


@pytest.mark.parametrize("value", [0.0, 2.5, -3.0, 1e6])
def test_one_value_alone_has_an_axis_too(value):
    axis = Axis.around("BLEU", [value])
    assert axis.low < value < axis.high and axis.place(value) == pytest.approx(50)


def test_thousands_have_commas_and_small_numbers_their_digits():
    assert [text for _, text in Axis("n", 0, 2000).ticks] == ["0", "500", "1,000", "1,500", "2,000"]
    assert Axis("n", 0.001, 0.002).ticks[0] == (0, "0.001")


def test_a_line_goes_up_where_values_grow():
    points = [Point(0, 0, "first"), Point(10, 5, "last", stands_out=True)]
    chart = Chart("title", "x", "y", [Series("one", 0, points)])
    (left, low), (right, high) = map(chart.place, points)
    assert left < right and low > high  # from the top
    assert chart.line(chart.series[0]) == f"M{left:g} {low:g} L{right:g} {high:g}"
