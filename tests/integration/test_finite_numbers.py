"""Numbers that are not finite: a training ends in one line, and no model with them is exported or asked."""

import json
import shutil

import pytest
import torch
from classification_runs import fine_tune, write_root
from fairseq_cli import train
from fairseq_runs import TINY_STUDENT, exit_of
from safetensors.torch import load_file, save_file
from tiny_classification import classification
from tiny_corpus import write_split
from tiny_fastbert import make_fastbert

from cmlm_kd.cli import main
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint, write_checkpoint
from cmlm_kd.models.fastbert.directory import save_fastbert

DIVERGING = ("--lr", 1e38, "--clip-norm", 0)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = write_root(tmp_path_factory.mktemp("finite"))
    fine_tune(root)
    return root


def one_line(status, errors):
    assert status == 1 and "Traceback" not in errors, errors
    return errors.splitlines()[-1]


def test_a_classifier_that_diverges(root, tmp_path):
    flags = classification(root / "data", tmp_path / "s", *DIVERGING, bert=root / "encoder")
    line = one_line(*exit_of(train, *flags))
    assert line.startswith("fairseq-train: classification_kd: ") and "finite" in line and "lower --lr" in line
    assert not list(tmp_path.rglob("crash.pt")) and not list(tmp_path.rglob("checkpoint*.pt"))


@pytest.fixture
def translation(tmp_path):
    for split in ("train", "valid"):
        write_split(tmp_path / "data", split, 8, seed=1)
    flags = (tmp_path / "data", "--task", "translation_kd", "--soft-targets", "none", *TINY_STUDENT)
    return (*flags, "--batch-size", 2, "--save-dir", tmp_path / "s", "--max-update", 3)


def test_a_translator_that_diverges(translation, tmp_path):
    line = one_line(*exit_of(train, *translation, *DIVERGING))
    assert line.startswith("fairseq-train: translation_kd: ") and "lower --lr" in line
    (path,) = (tmp_path / "s").glob("nonfinite-update*-worker0.pt")
    assert torch.load(path)["src_tokens"].shape[0] == 2 and not list(tmp_path.rglob("crash.pt"))


def test_gradients_that_are_not_finite_under_a_loss_that_is(translation, tmp_path, monkeypatch):
    from fairseq.criterions.cross_entropy import CrossEntropyCriterion

    forward = CrossEntropyCriterion.forward

    def broken(self, model, sample, reduce=True):
        loss, size, logged = forward(self, model, sample, reduce)
        weight = model.decoder.layers[0].fc1.weight
        return loss + (0 * weight).sum().sqrt(), size, logged  # whose slope at 0 is infinite

    monkeypatch.setattr(CrossEntropyCriterion, "forward", broken)
    line = one_line(*exit_of(train, *translation))
    name = "decoder.layers.0.fc1.weight"
    assert f"the gradient of {name} in update 1 is not finite, although the loss is; the batch is in" in line
    assert not list(tmp_path.rglob("crash.pt"))


@pytest.fixture
def broken(root, tmp_path):
    """A checkpoint and its export, each with a weight that is not a number."""
    state = read_checkpoint(root / "plain" / "checkpoint_last.pt")
    name = next(name for name in state["model"] if name.endswith("classifier.weight"))
    state["model"] = {key: value.clone() for key, value in state["model"].items()}
    state["model"][name].view(-1)[3] = float("nan")
    write_checkpoint(state, tmp_path / "broken.pt")
    folder = shutil.copytree(root / "exported", tmp_path / "broken")
    spoil(folder / "model.safetensors", "classifier.weight")
    return tmp_path


def spoil(path, name):
    weights = load_file(path)
    weights[name].view(-1)[3] = float("inf")
    save_file(weights, path, metadata={"format": "pt"})


def refused(capsys, *words):
    assert main([str(word) for word in words]) == 2
    printed = capsys.readouterr()
    assert not printed.out and printed.err.count("\n") == 1, printed.err
    return printed.err


def test_no_model_with_such_weights_is_exported_or_asked(root, broken, capsys):
    message = "classifier.weight has numbers that are not finite: the training diverged"
    assert message in refused(capsys, "export", broken / "broken.pt", "--output", broken / "out")
    assert not (broken / "out").exists()
    (broken / "broken" / "export.json").unlink(missing_ok=True)  # whose checksums would speak first
    for model in (broken / "broken.pt", broken / "broken"):
        command = ("evaluate", root / "data", "--corpus", "SST-2", "--no-speed", "--model", model)
        error = refused(capsys, *command)
        assert message in error and str(model) in error


@pytest.mark.parametrize("how", ["finetuned", "resumed"])
def test_no_training_starts_from_such_weights(root, broken, how):
    more = ("--finetune-from-model", broken / "broken.pt")
    if how == "resumed":
        (broken / "s").mkdir()
        shutil.copy(broken / "broken.pt", broken / "s" / "checkpoint_last.pt")
        more = ("--max-update", 9)
    flags = classification(root / "data", broken / "s", *more, bert=root / "encoder")
    line = one_line(*exit_of(train, *flags))
    path = broken / ("s/checkpoint_last.pt" if how == "resumed" else "broken.pt")
    assert (
        line.startswith(f"fairseq-train: {path}: ") and "classifier.weight has numbers that are not" in line
    )
    assert not list(broken.rglob("nonfinite*"))


def test_a_fastbert_with_such_weights_classifies_nothing(tmp_path, capsys):
    save_fastbert(tmp_path / "model", make_fastbert(tmp_path / "encoder"))
    weights = load_file(tmp_path / "model" / "model.safetensors")
    name = sorted(name for name in weights if name.startswith("classifiers."))[0]
    spoil(tmp_path / "model" / "model.safetensors", name)
    (tmp_path / "texts").write_text("good film\n")
    capsys.readouterr()
    for words in (
        ("classify", tmp_path / "texts", "--model", tmp_path / "model"),
        ("exits", tmp_path / "model", tmp_path, "--corpus", "SST-2"),
    ):
        assert f"{name} has numbers that are not finite" in refused(capsys, *words)
    assert json.loads((tmp_path / "model" / "config.json").read_text())["fastbert"]["version"] == 1
