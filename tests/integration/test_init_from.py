"""fairseq-train --init-from: a student that starts from a translator's layers."""

import fairseq_cli.train
import pytest
import torch
from fairseq_runs import TINY_STUDENT, exit_of, run_train
from tiny_next_tokens import LSTM, train_translator, write_data

DEEP = (*TINY_STUDENT, "--encoder-layers", 3, "--decoder-layers", 2)


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    root = tmp_path_factory.mktemp("start")
    data = write_data(root / "data")
    train_translator(root / "deep", data, "--seed", 1, model=DEEP)
    train_translator(root / "lstm", data, "--seed", 2, model=LSTM)
    return root


def flags(road, save_dir, *more, teacher="deep"):
    return (
        *(road / "data", "--task", "translation_kd", "--criterion", "soft_target_kd", *TINY_STUDENT),
        *("--soft-targets", "none", "--kd-alpha", 0, "--max-tokens", 200, "--save-dir", save_dir),
        *("--init-from", road / teacher / "checkpoint_last.pt", "--no-progress-bar", "--disable-validation"),
        *("--encoder-layers-map", 2, "--no-epoch-checkpoints", "--max-update", 1, *more),
    )


def weights(folder):
    return torch.load(folder / "checkpoint_last.pt", weights_only=False)["model"]


def test_it_starts_from_the_layers_named_and_resumes_without_them(road, tmp_path):
    run_train(*flags(road, tmp_path, "--lr", 1e-12))
    student, teacher = weights(tmp_path), weights(road / "deep")
    for mine, theirs in (("encoder.layers.0", "encoder.layers.1"), ("decoder.layers.0", "decoder.layers.1")):
        torch.testing.assert_close(student[f"{mine}.fc1.weight"], teacher[f"{theirs}.fc1.weight"])
    for name in ("encoder.embed_tokens.weight", "decoder.output_projection.weight"):
        torch.testing.assert_close(student[name], teacher[name])
    run_train(*flags(road, tmp_path, "--max-update", 2, "--init-from", tmp_path / "gone.pt"))


@pytest.mark.parametrize(
    ("teacher", "more", "message"),
    [
        ("deep", ("--encoder-layers-map", 4), "teacher layer 4 is not in 1 to 3"),
        ("deep", ("--encoder-embed-dim", 24, "--decoder-embed-dim", 24), "the teacher has"),
        ("deep", ("--decoder-attention-heads", 4), "2 attention heads, the student's 4"),
        ("lstm", (), "has no encoder of Transformer layers"),
        ("none", (), "none"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(road, tmp_path, teacher, more, message):
    status, errors = exit_of(fairseq_cli.train, *flags(road, tmp_path, *more, teacher=teacher))
    assert status != 0 and message in errors, errors
    assert errors.strip().count("\n") == 0
    assert not list(tmp_path.glob("*.pt"))


def test_maps_without_a_translator_are_refused(road, tmp_path):
    given = list(flags(road, tmp_path))
    place = given.index("--init-from")
    del given[place : place + 2]
    status, errors = exit_of(fairseq_cli.train, *given)
    assert status != 0 and "--encoder-layers-map 2: of what translator? name it with --init-from" in errors
