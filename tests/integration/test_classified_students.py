"""What ``--task classification_kd`` has trained: exported, as a teacher, and by ``cmlm-kd evaluate``."""

import json
import re
import stat

import pytest
import torch
from classification_runs import distilling, fine_tune, steps, write_root
from disk import largest_file, umask
from fairseq_runs import run_train
from tiny_classification import LABELS
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cmlm_kd.cli import main
from cmlm_kd.evaluation.training_log import read_validations
from cmlm_kd.fairseq_files.checkpoint_keys import BERT_CONFIG
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint, write_checkpoint
from cmlm_kd.models.classifier import load_classifier
from cmlm_kd.models.encoders.pretrained import model_hash


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_root(tmp_path_factory.mktemp("classification"))


@pytest.fixture(scope="module")
def fine_tuned(root):
    return fine_tune(root)


def test_export_loads_in_plain_hugging_face(root, fine_tuned):
    model = AutoModelForSequenceClassification.from_pretrained(fine_tuned).eval()
    tokenizer = AutoTokenizer.from_pretrained(fine_tuned)
    assert model.config.id2label == dict(enumerate(LABELS))
    state = read_checkpoint(root / "plain" / "checkpoint_last.pt")["model"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[f"classifier.model.{name}"]), name
    assert tokenizer("the film was good")["input_ids"][0] == tokenizer.cls_token_id
    assert tokenizer.model_max_length == 40
    assert {path.name for path in fine_tuned.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "export.json",
        "README.md",
    }


def test_an_exported_student_has_the_permissions_that_the_umask_says(root, fine_tuned, tmp_path):
    with umask(0o022):
        command = ["export", root / "plain" / "checkpoint_last.pt", "--output", tmp_path / "exported"]
        assert main([str(word) for word in command]) == 0
    for path in (tmp_path / "exported").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o644, path
    assert stat.S_IMODE((tmp_path / "exported").stat().st_mode) == 0o755


def test_a_full_disk_ends_an_export_in_one_line(root, fine_tuned, tmp_path, capsys):
    command = ["export", root / "plain" / "checkpoint_last.pt", "--output", tmp_path / "made" / "exported"]
    with largest_file(3000):
        assert main([str(word) for word in command]) == 2
    message = f"{tmp_path / 'made' / 'exported'}: File too large; make room or choose another place\n"
    assert capsys.readouterr().err == f"cmlm-kd export: {message}" and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "described", ["", "[]", "{", '{"model_type": "nobodys"}', '{"model_type": "bert", "a']
)
def test_a_checkpoint_whose_description_of_its_model_is_damaged(
    root, fine_tuned, tmp_path, capsys, described
):
    state = read_checkpoint(root / "plain" / "checkpoint_last.pt")
    state["task_state"] = {**state["task_state"], BERT_CONFIG: described}
    write_checkpoint(state, tmp_path / "damaged.pt")
    status, _, error = evaluate(
        capsys, root / "data", "--corpus", "SST-2", "--no-speed", "--model", tmp_path / "damaged.pt"
    )
    assert status == 2 and error.count("\n") == 1 and "is the file damaged, or of a newer version?" in error


def test_an_exported_student_is_a_teacher(root, fine_tuned, tmp_path):
    assert steps(root, tmp_path, "--kd-beta", 0, teacher=str(fine_tuned), updates=1)


def evaluate(capsys, *arguments):
    status = main(["evaluate", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_evaluate_measures_and_writes_predictions(root, fine_tuned, tmp_path, capsys):
    models = (
        f"student={root / 'plain' / 'checkpoint_last.pt'}",
        f"exported={fine_tuned}",
        f"teacher={root / 'swapped'}",
        f"both={fine_tuned}:{root / 'swapped'}",
    )
    status, out, _ = evaluate(
        capsys,
        *(
            root / "data",
            "--corpus",
            "SST-2",
            "--predictions",
            tmp_path / "p",
            "--format",
            "json",
            "--model",
            *models,
        ),
    )
    found = {model["name"]: model for model in json.loads(out)["models"]}
    assert status == 0 and set(found) == {"student", "exported", "teacher", "both"}
    assert found["student"]["metrics"] == found["exported"]["metrics"]
    assert found["both"]["parameters"] == found["exported"]["parameters"] + found["teacher"]["parameters"]
    assert all(set(m["examples_per_second"]) == {"1", "32"} for m in found.values())
    (point,) = read_validations(root / "plain.log")
    assert found["student"]["metrics"]["accuracy"] == pytest.approx(point.measures["accuracy"])
    rows = [line.split("\t") for line in (tmp_path / "p" / "teacher.tsv").read_text().splitlines()]
    assert rows[0] == ["index", "prediction", "target", "p(negative)", "p(positive)"] and len(rows) == 17
    right = sum(row[1] == row[2] for row in rows[1:])
    assert found["teacher"]["metrics"]["accuracy"] == pytest.approx(100 * right / 16)
    assert all(float(row[3]) + float(row[4]) == pytest.approx(1, abs=2e-4) for row in rows[1:])


def test_evaluate_says_what_a_student_learnt_from(root, tmp_path, capsys):
    run_train(*distilling(root, tmp_path / "s", "--kd-beta", 0, teacher="teacher:swapped"))
    first, second = (
        model_hash(load_classifier(str(root / name)).config, load_classifier(str(root / name)))[:6]
        for name in ("teacher", "swapped")
    )
    _, out, _ = evaluate(
        capsys,
        root / "data",
        "--corpus",
        "SST-2",
        "--no-speed",
        "--model",
        tmp_path / "s" / "checkpoint_last.pt",
    )
    assert (
        f"kd:pkd|mode:original|T:10|alpha:0.7|beta:0|teacher:{first}+{second}|ensemble:probabilities|v:"
        in out
    )


def test_evaluate_prints_a_table_and_takes_unlabelled_text(root, fine_tuned, tmp_path, capsys):
    status, out, _ = evaluate(capsys, root / "data", "--corpus", "SST-2", "--model", fine_tuned)
    assert status == 0 and re.search(r"\| exported \| +\d+\.\d\d \|", out) and "examples/s, batch 32" in out
    (tmp_path / "test.tsv").write_text("index\tsentence\n0\tgood film\n")
    flags = ("--corpus", "SST-2", "--split", "test", "--no-speed", "--predictions", tmp_path)
    status, out, _ = evaluate(capsys, tmp_path, *flags, "--model", f"m={fine_tuned}")
    assert status == 0 and "accuracy" not in out
    assert (tmp_path / "m.tsv").read_text().startswith("index\tprediction\tp(negative)")


def test_a_full_disk_ends_predictions_in_one_line(root, fine_tuned, tmp_path, capsys):
    flags = ("--corpus", "SST-2", "--no-speed", "--predictions", tmp_path / "p", "--model", f"m={fine_tuned}")
    with largest_file(100):
        status, out, error = evaluate(capsys, root / "data", *flags)
    message = f"{tmp_path / 'p' / 'm.tsv'}: File too large; make room or choose another place\n"
    assert (status, out, error) == (2, "", f"cmlm-kd evaluate: {message}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/b", "", ".."])
def test_names_are_no_paths(tmp_path, capsys, name):
    flags = ("--corpus", "SST-2", "--predictions", tmp_path / "p", "--model", f"{name}=no")
    status, _, error = evaluate(capsys, tmp_path, *flags)
    assert status == 2 and f"--model {name!r}: a file gets this name, and it must not be a path" in error
    assert not list(tmp_path.iterdir())


def test_evaluate_plain_text_knows_the_models_classes(root, fine_tuned, tmp_path, capsys):
    """A small set need not have all of them."""
    (tmp_path / "dev.tsv").write_text("good film\tpositive\n")
    status, out, _ = evaluate(capsys, tmp_path, "--corpus", "text", "--no-speed", "--model", fine_tuned)
    assert status == 0 and "accuracy" in out


def test_evaluate_predicts_plain_text_without_labels_and_in_the_corpus_words(root, tmp_path, capsys):
    (tmp_path / "test.tsv").write_text("good film\nbad film\n")
    flags = ("--no-speed", "--model", f"t={root / 'teacher'}", "--predictions", tmp_path / "p")
    status, _, _ = evaluate(capsys, tmp_path, "--corpus", "text", "--split", "test", *flags)
    rows = [line.split("\t") for line in (tmp_path / "p" / "t.tsv").read_text().splitlines()]
    assert status == 0 and rows[0][:2] == ["index", "prediction"] and len(rows) == 3
    assert {row[1] for row in rows[1:]} <= {"negative", "positive"}
    status, _, _ = evaluate(capsys, root / "data", "--corpus", "SST-2", "--corpus-labels", *flags)
    rows = [line.split("\t") for line in (tmp_path / "p" / "t.tsv").read_text().splitlines()]
    assert status == 0 and rows[0] == ["index", "prediction", "target", "p(0)", "p(1)"]
    assert {cell for row in rows[1:] for cell in row[1:3]} == {"0", "1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "{root}/nowhere"], "nowhere does not exist"),
        (["--model", "a={root}/teacher", "a={root}/swapped"], "two models are called 'a'"),
        (["--model", "{root}/encoder"], "no fine-tuned classifier"),
        (["--model", "{root}/teacher", "--batch-size", "0"], "--batch-size is 0; it must be at least 1"),
        (["--model", "{root}/teacher", "--split", "gone"], "gone.tsv does not exist"),
    ],
)
def test_evaluate_refuses(root, tmp_path, capsys, arguments, message):
    filled = [argument.format(root=root) for argument in arguments]
    status, out, err = evaluate(
        capsys, root / "data", "--corpus", "SST-2", "--predictions", tmp_path / "p", *filled
    )
    assert status == 2 and message in err and not out and not (tmp_path / "p").exists()
