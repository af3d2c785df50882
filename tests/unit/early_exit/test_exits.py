"""Leaving a FastBERT early: which layer, the same answer in every batch, and what is refused."""

import copy

import numpy as np
import pytest
import torch
from tiny_classification import LABELS, sentences
from tiny_fastbert import make_fastbert
from torch.utils._python_dispatch import TorchDispatchMode

from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.data.classification.inputs import EncodedExamples, HuggingFaceInputs
from cmlm_kd.early_exit.exits import exit_early
from cmlm_kd.early_exit.prediction import classify, classify_at_every_layer
from cmlm_kd.errors import UserError
from cmlm_kd.models.fastbert.branch import uncertainty
from cmlm_kd.models.prediction import predict_logits

COUNT = 24
TEXTS = [text for text, _ in sentences(COUNT, seed=5)]
EXAMPLES = Examples(TEXTS, None, None, (), "t")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Random branches whose uncertainties are spread out, so that texts leave after different layers."""
    return make_fastbert(tmp_path_factory.mktemp("early_exit") / "encoder")


@pytest.fixture(scope="module")
def layers(model):
    """By the plain way: the logits of every layer for each text on its own, ``(N, L, C)``."""
    encoded = EncodedExamples(EXAMPLES, model.inputs)
    with torch.no_grad():
        return torch.stack([model.all_logits(**encoded.collate([row]))[:, 0] for row in range(COUNT)])


@pytest.fixture(scope="module")
def speed(layers):
    """The threshold, not close to any uncertainty, at which the rarest exit is least rare."""
    values = uncertainty(layers)[:, :-1].flatten().sort().values
    middles = (values[1:] + values[:-1])[values.diff() > 2e-4] / 2
    counts = [np.bincount(expected_exits(layers, middle), minlength=5)[1:] for middle in middles.tolist()]
    best = max(range(len(counts)), key=lambda index: counts[index].min())
    assert counts[best].min() > 0  # or the tests would show little
    return float(middles[best])


def expected_exits(layers, speed):
    doubts = uncertainty(layers).tolist()
    return [
        next((number for number, doubt in enumerate(row[:-1], start=1) if doubt <= speed), len(row))
        for row in doubts
    ]


def whole_batch(model, **changes):
    batch = EncodedExamples(EXAMPLES, model.inputs).collate(range(COUNT))
    return {**batch, **changes}


def test_each_text_leaves_after_the_first_certain_layer(model, layers, speed):
    exits = expected_exits(layers, speed)
    done = exit_early(model, **whole_batch(model), speed=speed)
    assert done.exit_layer.tolist() == exits
    there = torch.stack([layers[row, layer - 1] for row, layer in enumerate(exits)])
    torch.testing.assert_close(done.probabilities, there.softmax(-1), rtol=0, atol=1e-5)
    torch.testing.assert_close(done.uncertainty, uncertainty(there), rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 5, COUNT])
def test_the_same_answer_in_every_batch(model, layers, speed, batch_size):
    done = classify(model, TEXTS, speed=speed, batch_size=batch_size)
    assert done.exit_layer.tolist() == expected_exits(layers, speed)
    alone = classify(model, TEXTS[::-1], speed=speed, batch_size=1)
    np.testing.assert_allclose(done.probabilities, alone.probabilities[::-1], atol=1e-5)
    np.testing.assert_allclose(done.uncertainty, alone.uncertainty[::-1], atol=1e-5)
    assert done.labels == alone.labels[::-1]
    assert done.labels == [LABELS[best] for best in done.probabilities.argmax(1)]


def test_speed_0_is_the_teacher_classifier_to_the_last_bit(model):
    batch = whole_batch(model)
    done = exit_early(model, **batch, speed=0)
    with torch.no_grad():
        logits = model(**batch).logits
    assert torch.equal(done.probabilities, logits.softmax(-1))
    assert torch.equal(done.uncertainty, uncertainty(logits))
    assert done.exit_layer.tolist() == [4] * COUNT
    np.testing.assert_array_equal(
        classify(model, TEXTS, speed=0.0).probabilities,
        torch.tensor(predict_logits(model, EXAMPLES)).softmax(-1).numpy(),
    )


def test_speed_0_runs_no_branch_and_every_layer_even_of_certain_texts(model):
    certain, ran = copy.deepcopy(model), []
    for number, branch in enumerate(certain.exits, start=1):
        branch.register_forward_hook(lambda *_, number=number: ran.append(number))
        branch.output_weight.mul_(1e6)  # uncertainty 0 after the first layer
    done = exit_early(certain, **whole_batch(model), speed=0)
    assert ran == [4] and done.exit_layer.tolist() == [4] * COUNT
    assert exit_early(certain, **whole_batch(model), speed=1e-6).exit_layer.float().mean() < 2


def test_speed_1_runs_the_first_layer_alone(model):
    uncertain = copy.deepcopy(model)
    for parameter in uncertain.classifiers[0].output.parameters():
        parameter.data.zero_()  # equal probabilities: uncertainty 1
    uncertain.for_inference()
    done = exit_early(uncertain, **whole_batch(model), speed=1)
    assert done.exit_layer.tolist() == [1] * COUNT
    assert done.uncertainty.min() > 1 - 1e-6 and done.uncertainty.max() <= 1
    alone = classify(uncertain, TEXTS, speed=1, batch_size=1)
    assert alone.exit_layer.tolist() == [1] * COUNT and alone.uncertainty.max() <= 1
    almost = classify(uncertain, TEXTS[:4], speed=0.999, batch_size=4).exit_layer.tolist()
    assert (
        min(almost) > 1
        and classify(uncertain, TEXTS[:4], speed=0.999, batch_size=1).exit_layer.tolist() == almost
    )


def shapes_of_layers(model, run):
    seen = []
    handles = [
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[:2])))
        for layer in model.layers
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return seen


def test_the_batch_shrinks_and_its_padding_goes_with_the_long_texts(model, layers, speed):
    exits = torch.tensor(expected_exits(layers, speed))
    lengths = torch.tensor(EncodedExamples(EXAMPLES, model.inputs).sizes)
    batch = {name: torch.nn.functional.pad(part, (0, 6)) for name, part in whole_batch(model).items()}
    seen = shapes_of_layers(model, lambda: exit_early(model, **batch, speed=speed))
    staying = [exits >= layer for layer in range(1, 5)]
    sizes = [int(rows.sum()) for rows in staying if rows.any()]
    widths = [int(lengths[rows].max()) for rows in staying if rows.any()]
    assert seen == list(zip(sizes, widths, strict=True))
    assert sizes[-1] < COUNT and len(set(widths)) > 1  # or the test would show nothing


class WaitingOperations(TorchDispatchMode):
    """Notes operators whose result the host needs before it can go on, however they were called."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        masks = args[1] if function.overloadpacket in (aten.index, aten.index_put, aten.index_put_) else ()
        if function.overloadpacket in WAITING or any(
            mask is not None and mask.dtype in (torch.bool, torch.uint8) for mask in masks
        ):
            self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


aten = torch.ops.aten
WAITING = {
    aten._local_scalar_dense,
    aten.equal,
    aten.is_nonzero,
    aten.masked_select,
    aten.nonzero,
    aten._unique2,
    aten.unique_consecutive,
}


def waits_of(action, monkeypatch):
    """Return the ways in which an action waits for the device: methods of tensors, and operators below."""
    waits = []
    with monkeypatch.context() as patched, WaitingOperations() as operations:
        for name in ("tolist", "item", "__bool__", "__int__", "__float__", "__index__", "cpu", "numpy"):
            original = getattr(torch.Tensor, name)

            def counted(self, *args, original=original, name=name):
                waits.append(name)
                before = len(operations.seen)
                value = original(self, *args)
                del operations.seen[before:]  # it is this one
                return value

            patched.setattr(torch.Tensor, name, counted)
        action()
    return waits + operations.seen


@pytest.mark.parametrize(
    "action",
    [
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.where(x > 0),
        lambda x: x.masked_select(x > 0),
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
    ],
)
def test_what_waits_for_the_device_is_seen(action, monkeypatch):
    assert len(waits_of(lambda: action(torch.tensor([1.0, -1.0])), monkeypatch)) >= 1


def test_one_synchronisation_a_layer(model, speed, monkeypatch):
    batch, seen = whole_batch(model), []

    def run():
        seen.extend(shapes_of_layers(model, lambda: exit_early(model, **batch, speed=speed)))

    waits = waits_of(run, monkeypatch)
    # The batch's width, and what stays after layers 1, 2 and 3; of one that stays, its logits.
    assert len(seen) == 4 and waits == ["tolist"] * 4


def test_one_synchronisation_a_layer_of_a_single_text(model, layers, speed, monkeypatch):
    exits = expected_exits(layers, speed)
    for number in (1, 4):
        row = EncodedExamples(EXAMPLES, model.inputs).collate([exits.index(number)])
        waits = waits_of(lambda row=row: exit_early(model, **row, speed=speed), monkeypatch)
        assert waits == ["tolist"] * (1 + min(number, 3))
    assert waits_of(lambda: exit_early(model, **row, speed=0), monkeypatch) == ["tolist"]


@pytest.mark.parametrize("speed", [0, 0.5])
@pytest.mark.parametrize("rows", [1, 3])
def test_padding_on_the_left_is_refused(model, rows, speed):
    batch = EncodedExamples(EXAMPLES, model.inputs).collate(range(rows))
    left = {name: torch.nn.functional.pad(part, (2, 0)) for name, part in batch.items()}
    with pytest.raises(UserError, match="attention_mask: an input has padding before a token"):
        exit_early(model, **left, speed=speed)
    batch["attention_mask"][0] = 0
    with pytest.raises(UserError, match="attention_mask: an input is nothing but padding"):
        exit_early(model, **batch, speed=speed)


def test_a_model_in_training_is_switched_to_evaluation(model, speed):
    first = exit_early(model.train(), **whole_batch(model), speed=speed)
    assert not model.training
    assert torch.equal(
        first.probabilities, exit_early(model, **whole_batch(model), speed=speed).probabilities
    )


def test_what_every_layer_says(model, layers):
    every = classify_at_every_layer(model, EXAMPLES, batch_size=7)
    np.testing.assert_allclose(every.uncertainty, uncertainty(layers).numpy(), atol=1e-5)
    np.testing.assert_array_equal(every.predictions, layers.argmax(-1).numpy())


def test_pairs_and_the_calibrated_speed(model, monkeypatch):
    monkeypatch.setattr(model, "speed", 1.0)
    assert classify(model, TEXTS[:3], TEXTS[3:6]).exit_layer.tolist() == [1, 1, 1]
    assert classify(model, TEXTS[:3], TEXTS[3:6], speed=0).exit_layer.tolist() == [4, 4, 4]


def test_no_texts_give_no_answers(model):
    done = classify(model, [])
    assert done.labels == [] and done.probabilities.shape == (0, 2) and len(done.exit_layer) == 0


@pytest.mark.parametrize("speed", [-0.1, 1.01, float("nan"), 50])
def test_thresholds_outside_of_their_range(model, speed):
    with pytest.raises(UserError, match=r"must be in \[0, 1\]"):
        classify(model, TEXTS, speed=speed)


def test_a_model_that_was_not_self_distilled(model):
    fine_tuned = copy.deepcopy(model)
    fine_tuned.begin_stage("teacher")
    with pytest.raises(UserError, match="not self-distilled"):
        classify(fine_tuned, TEXTS, speed=0.5)
    with pytest.raises(UserError, match="not self-distilled"):
        classify_at_every_layer(fine_tuned, EXAMPLES)
    assert classify(fine_tuned, TEXTS, speed=0).exit_layer.tolist() == [4] * COUNT


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["good", " \t"], "text 2 is empty"),
        ("good", "are one string"),
        (["good", "a\ud800"], r"text 2: character 2 is U\+D800, half of a surrogate pair"),
        (["good", "film " * 60], "text 2 is longer than the 40 tokens that the model takes; shorten it"),
        (["film " * 60] * 3, r"text 1 is longer .* \(so are others, 3 in all\); shorten it"),
        (["good", "\u200b"], r"text 2 is '\\u200b', of which the tokenizer leaves nothing"),
        (["\x00\x01", "good"], r"text 1 is '\\x00\\x01', of which"),
    ],
)
def test_texts_that_cannot_be_classified(model, texts, message):
    with pytest.raises(UserError, match=message):
        classify(model, texts)


def test_texts_that_are_too_long_may_be_cut(model):
    assert len(classify(model, ["good", "film " * 60], truncate=True).labels) == 2
    assert len(classify(model, ["film " * 38]).labels) == 1  # with [CLS] and [SEP], just not too long


@pytest.mark.parametrize("truncate", [False, True])
def test_texts_are_tokenized_once(model, monkeypatch, truncate):
    asked, encode = [], HuggingFaceInputs.encode
    monkeypatch.setattr(
        HuggingFaceInputs, "encode", lambda self, *texts: asked.append(texts) or encode(self, *texts)
    )
    classify(model, TEXTS, truncate=truncate)
    assert asked == [(TEXTS, None)] and model.inputs.max_length == 40


def test_halves_of_pairs(model):
    with pytest.raises(UserError, match="2 first texts, but 1 second"):
        classify(model, ["good", "bad"], ["fine"])
    with pytest.raises(UserError, match=r"text 2 \(second of the pair\) is empty"):
        classify(model, ["good", "bad"], ["fine", ""])
    with pytest.raises(UserError, match=r"text 2 \(second of the pair\) is '\\u200b', of which"):
        classify(model, ["good", "bad"], ["fine", "\u200b"], speed=0)
    with pytest.raises(UserError, match=r"text 1 \(first of the pair\) is '\\u200b', of which"):
        classify(model, ["\u200b", "bad"], ["fine", "dull"], truncate=True)
    assert len(classify(model, ["☃"], ["fine"]).labels) == 1  # an unknown piece is one
    with pytest.raises(UserError, match="--batch-size is 0"):
        classify(model, ["good"], batch_size=0)
