"""The page of early exits: the curve, few enough points of it, the table, hostile names."""

import numpy as np
from report_pages import HOSTILE, data_of

from cmlm_kd.early_exit.calibration import ExitCurve
from cmlm_kd.early_exit.choices import ExitChoice
from cmlm_kd.evaluation.page.exits_page import POINTS, exits_page


def curve(points, layers=3):
    histogram = np.tile([1, 2, 7], (points, 1))
    histogram[0] = [0, 0, 10]
    return ExitCurve(
        np.linspace(0, 1, points), np.linspace(0.9, 0.7, points), np.linspace(1, 3, points), histogram
    )


CHOICES = [
    ExitChoice("fine-tuned encoder", 0.9, 6e6, 1.0),
    ExitChoice("speed 0.5", 0.8, 3e6, 2.0, 0.5, (1, 2, 7)),
    ExitChoice("all after layer 1", 0.7, 2e6, 3.0),
]


def test_all_that_the_table_has_and_the_curve(tmp_path):
    html = exits_page(
        curve(5), CHOICES, CHOICES[1], source=f"SST-2 {HOSTILE}", signature=f"kd:fastbert{HOSTILE}"
    )
    data = data_of(html)
    assert [point["threshold"] for point in data["points"]] == [0, 0.25, 0.5, 0.75, 1]
    assert data["start"] == 2 and data["points"][2]["left"] == [1, 2, 7]
    assert data["points"][0]["accuracy"] == 90 and data["points"][4]["speedup"] == 3
    assert "10 examples of SST-2 &lt;script&gt;" in html and "<script>window" not in html
    assert "speed 0.5: accuracy 80.00 %, 2.00 times as fast" in html
    for cell in ("fine-tuned encoder", "all after layer 1", ">80.00<", ">2.60<"):
        assert cell in html
    assert "kd:fastbert&lt;script&gt;" in html


def test_of_a_long_curve_no_more_points_than_are_seen(tmp_path):
    data = data_of(exits_page(curve(5000), CHOICES, CHOICES[1], source="x", signature=None))
    assert len(data["points"]) == POINTS
    assert data["points"][0]["threshold"] == 0 and data["points"][-1]["threshold"] == 1
    assert abs(data["points"][data["start"]]["threshold"] - 0.5) < 0.01
