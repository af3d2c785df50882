"""``cmlm-kd evaluate-masked-lm``: students of unlabelled text beside each other and beside their teacher."""

import json

import pytest
from datasets import Dataset, DatasetDict
from fairseq_runs import run_train
from tiny_text import pretraining, write_masked_lm, write_text

from cmlm_kd.cli import main


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A text and a teacher."""
    folder = tmp_path_factory.mktemp("measuring")
    write_text(folder / "text")
    write_masked_lm(folder / "teacher")
    return folder


def train_half(here, save_dir):
    """Train half of the teacher's layers, with the text's pieces in ``pieces``."""
    pieces = ("--tokenized", save_dir / "pieces", "--init-layers", "0,2")
    run_train(*pretraining(here / "text", save_dir, "--teacher", here / "teacher", *pieces))


def test_students_are_measured_beside_each_other(here, tmp_path, capsys, caplog):
    """The command says of a checkpoint what its validation said, and the teacher agrees with itself."""
    with caplog.at_level("INFO"):
        train_half(here, tmp_path)
    validation = " ".join(line for line in caplog.messages if "valid on" in line)
    parts = (part.split() for part in validation.split("|"))
    validated = {part[0]: float(part[1]) for part in parts if len(part) == 2 and part[0] != "epoch"}
    path = tmp_path / "checkpoint_last.pt"
    command = [
        *("evaluate-masked-lm", here / "text" / "valid.txt", "--teacher", here / "teacher"),
        *("--model", f"teacher={here / 'teacher'}", f"distilled={path}", "--max-length", 40),
    ]
    capsys.readouterr()
    assert main([*map(str, command), "--format", "json"]) == 0
    teacher, distilled = json.loads(capsys.readouterr().out)["models"]
    assert teacher["metrics"]["agreement"] == 100
    assert teacher["metrics"]["accuracy"] == pytest.approx(validated["teacher_accuracy"], abs=0.01)
    for ours, theirs in (("accuracy", "accuracy"), ("loss", "loss"), ("agreement", "agreement")):
        assert distilled["metrics"][ours] == pytest.approx(validated[theirs], abs=0.01)
    assert distilled["kd_signature"].startswith("kd:distilbert|T:2|weights:5,2,1,0|positions:real|teacher:")
    assert main([*map(str, command)]) == 0
    assert "| distilled |" in (printed := capsys.readouterr().out)
    lines = (here / "text" / "valid.txt").read_text().splitlines()
    splits = {"train": Dataset.from_dict({"text": ["no"]}), "validation": Dataset.from_dict({"text": lines})}
    DatasetDict(splits).save_to_disk(tmp_path / "saved")
    assert main([*map(str, (command[0], tmp_path / "saved", *command[2:]))]) == 0
    assert capsys.readouterr().out.split("\n", 1)[1] == printed.split("\n", 1)[1]


def test_students_are_measured_on_other_masks(here, tmp_path, capsys):
    """What is rare is counted where the students were trained."""
    train_half(here, tmp_path)

    def measured(*more):
        given = (here / "text" / "valid.txt", "--model", here / "teacher", "--max-length", 40, *more)
        status = main(["evaluate-masked-lm", *map(str, given), "--format", "json"])
        printed, errors = capsys.readouterr()
        return json.loads(printed)["models"][0]["metrics"] if status == 0 else errors

    capsys.readouterr()
    frequency = ("--masking", "frequency", "--tokenized", tmp_path / "pieces")
    results = [measured(), measured(*frequency), measured(*frequency, "--mask-smoothing", 2)]
    assert len({result["loss"] for result in results}) == 3
    assert "--masking frequency and --tokenized go together" in measured(*frequency[:2])
    assert "--masking frequency and --tokenized go together" in measured(*frequency[2:])
    assert "manifest.json is missing" in measured(*frequency[:3], tmp_path / "nowhere")
    manifest = tmp_path / "pieces" / "train" / "manifest.json"
    document = json.loads(manifest.read_text())
    del document["manifest_sha256"]
    manifest.write_text(json.dumps({**document, "tokenizer": "0" * 64}))
    assert "has tokens of another tokenizer than the models" in measured(*frequency)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--mask-smoothing", -1), "--mask-smoothing is -1.0, it must be at least 0"),
        (("--max-length", 41), "takes 40 positions; pass --max-length 40"),
        (("--max-tokens", 0), "--max-tokens is 0; it must be at least 1"),
        (("--mask-probability", 2), "--mask-probability is 2.0, it must be in (0, 1]"),
        (("--model", "encoder"), "has no masked-LM head"),
        (("--model", "other"), "has another vocabulary than"),
    ],
)
def test_models_that_cannot_be_compared(here, tmp_path, capsys, more, message):
    write_masked_lm(tmp_path / "encoder", head=False)
    write_masked_lm(tmp_path / "other", extra=("zebra",))
    models = [here / "teacher"]
    if more[0] == "--model":
        models, more = [here / "teacher", tmp_path / more[1]], ()
    flags = ("--max-length", 40, *more, "--model", *models)
    assert main(["evaluate-masked-lm", *map(str, (here / "text" / "valid.txt", *flags))]) == 2
    assert message in capsys.readouterr().err


def test_a_text_of_which_nothing_is_masked(here, tmp_path, capsys):
    """No token of it stands in the training text, so that each has a probability of 0."""
    train_half(here, tmp_path)
    (tmp_path / "text.txt").write_text("\u4e2d\u6587\n" * 3)
    flags = ["--model", here / "teacher", "--max-length", 40, "--masking", "frequency"]
    words = [tmp_path / "text.txt", *flags, "--tokenized", tmp_path / "pieces"]
    assert main(["evaluate-masked-lm", *map(str, words)]) == 2
    message = "text.txt is masked: --masking frequency masks none that the training text lacks; give text"
    assert message in capsys.readouterr().err
