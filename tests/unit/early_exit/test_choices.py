"""What thresholds and fixed depths are worth, against loops; the table and the picture of them."""

import numpy as np
import pytest
from tiny_classification import LABELS, sentences
from tiny_fastbert import make_fastbert

from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.early_exit.calibration import exit_curve
from cmlm_kd.early_exit.choices import (
    LabelledExits,
    all_layers,
    at_threshold,
    choices_table,
    exit_layers,
    fixed_exit,
    measure_exits,
)
from cmlm_kd.early_exit.flops import FlopCount
from cmlm_kd.early_exit.plot import write_exit_plot
from cmlm_kd.early_exit.prediction import EveryLayer, classify
from cmlm_kd.errors import UserError

FLOPS = FlopCount(layers=3, hidden_size=8, intermediate_size=16, branch_size=4, embedding_size=8, length=5)
UNCERTAINTY = np.array([[0.2, 0.9, 0.1], [0.6, 0.5, 0.4], [0.9, 0.8, 0.7], [0.5, 0.1, 0.0]], np.float32)
PREDICTIONS = np.array([[0, 1, 1], [1, 0, 0], [1, 1, 1], [0, 0, 1]])
TARGET = np.array([0, 0, 1, 0])
MEASURED = LabelledExits(EveryLayer(PREDICTIONS, UNCERTAINTY), TARGET, FLOPS, ("a", "b"))


@pytest.mark.parametrize(
    ("speed", "layers", "accuracy"),
    [(0, [3, 3, 3, 3], 0.5), (0.5, [1, 2, 3, 1], 1.0), (0.85, [1, 1, 2, 1], 0.75), (1, [1, 1, 1, 1], 0.75)],
)
def test_thresholds(speed, layers, accuracy):
    assert exit_layers(UNCERTAINTY, speed).tolist() == layers
    choice = at_threshold(MEASURED, speed)
    assert choice.accuracy == accuracy and choice.threshold == speed
    cost = sum(layer * (FLOPS.layer + FLOPS.classifier) for layer in layers) / 4 if speed else FLOPS.plain
    assert choice.operations == pytest.approx(cost)
    assert choice.speedup == pytest.approx(FLOPS.plain / cost)
    assert choice.histogram == tuple(layers.count(layer) for layer in (1, 2, 3))


def test_fixed_depths_run_one_classifier():
    second, last = fixed_exit(MEASURED, 2), fixed_exit(MEASURED, 3)
    assert second.accuracy == 0.75 and second.operations == 2 * FLOPS.layer + FLOPS.classifier
    assert last.speedup == 1.0 and last.accuracy == at_threshold(MEASURED, 0).accuracy


def test_the_encoder_without_branches_may_have_another_order_of_classes():
    logits = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])  # of ("b", "a")
    assert all_layers(MEASURED, logits, ("b", "a"), "encoder").accuracy == 1.0
    with pytest.raises(UserError, match="encoder has the classes 'b', 'c'"):
        all_layers(MEASURED, logits, ("b", "c"), "encoder")


def test_a_model_on_labelled_examples(tmp_path):
    model = make_fastbert(tmp_path / "encoder")
    pairs = sentences(20, seed=3)
    texts, target = [text for text, _ in pairs], np.array([label for _, label in pairs])
    reverse = Examples(texts, None, 1 - target, LABELS[::-1], "reversed")
    measured = measure_exits(model, reverse, name="model")
    np.testing.assert_array_equal(measured.target, target)  # in the order of the model's classes
    speed = float(np.median(measured.every.uncertainty[:, :-1])) + 1e-4
    done = classify(model, texts, speed=speed)
    choice = at_threshold(measured, speed)
    assert choice.histogram == tuple(np.bincount(done.exit_layer, minlength=5)[1:].tolist())
    right = [label == LABELS[index] for label, index in zip(done.labels, target, strict=True)]
    assert choice.accuracy == pytest.approx(np.mean(right))
    with pytest.raises(UserError, match="unlabelled has no classes"):
        measure_exits(model, Examples(texts, None, None, LABELS, "unlabelled"), name="model")
    with pytest.raises(UserError, match="model has the classes"):
        measure_exits(model, Examples(texts, None, target, ("x", "y"), "other"), name="model")


def test_the_table_and_the_picture(tmp_path):
    choices = [at_threshold(MEASURED, 0.5), fixed_exit(MEASURED, 2)]
    _, _, threshold, depth = choices_table(choices).splitlines()
    cells = [cell.strip() for cell in threshold.strip("|").split("|")]
    assert cells == ["speed 0.5", "0.5000", "100.00", "0", f"{choices[0].speedup:.2f}", "1.75"]
    assert [cell.strip() for cell in depth.strip("|").split("|")][:3] == ["all after layer 2", "", "75.00"]
    curve = exit_curve(UNCERTAINTY, PREDICTIONS, TARGET, FLOPS)
    write_exit_plot(tmp_path / "exits.png", curve, choices[0], choices[1:])
    assert (tmp_path / "exits.png").read_bytes().startswith(b"\x89PNG")
