"""``cmlm-kd classify``, ``calibrate`` and ``exits``, and the same from Python, on a tiny FastBERT."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from documentation import blocks, commands
from fairseq_runs import run_train
from tiny_classification import LABELS, classification, sentences, write_bert, write_sst2
from tiny_fastbert import make_fastbert

from cmlm_kd.cli import main
from cmlm_kd.early_exit.prediction import classify
from cmlm_kd.models.fastbert.directory import load_fastbert, save_fastbert

TEXTS = [text for text, _ in sentences(12, seed=6)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classify")
    model = make_fastbert(folder / "encoder")
    save_fastbert(folder / "model", model)
    model.begin_stage("teacher")
    save_fastbert(folder / "fine-tuned", model)
    write_sst2(folder / "SST-2", train=200, dev=30)
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    return folder


@pytest.fixture
def copied(place, tmp_path):
    save_fastbert(tmp_path / "model", load_fastbert(place / "model"))
    return tmp_path / "model"


def fails(capsys, *words):
    """Run a command that is refused; returns its one line of complaint."""
    assert main([str(word) for word in words]) == 2
    printed = capsys.readouterr()
    assert not printed.out and printed.err.count("\n") == 1 and "Traceback" not in printed.err
    return printed.err


def test_lines_of_a_file(place, capsys):
    assert (
        main(["classify", str(place / "texts.txt"), "--model", str(place / "model"), "--speed", "0.6"]) == 0
    )
    header, *rows = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert header == ["label", "exit_layer", "uncertainty", "p(negative)", "p(positive)"]
    expected = classify(load_fastbert(place / "model"), TEXTS, speed=0.6)
    assert [row[0] for row in rows] == expected.labels
    assert [int(row[1]) for row in rows] == expected.exit_layer.tolist()
    numbers = np.array([[float(cell) for cell in row[2:]] for row in rows])
    np.testing.assert_allclose(numbers[:, 0], expected.uncertainty, atol=1e-6)
    np.testing.assert_allclose(numbers[:, 1:], expected.probabilities, atol=1e-6)


def test_pairs_from_standard_input_as_json(place, capsys, monkeypatch, tmp_path):
    lines = "".join(f"{a}\t{b}\n" for a, b in zip(TEXTS[:6], TEXTS[6:], strict=True))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    flags = ["--model", str(place / "model"), "--format", "jsonl", "--output", str(tmp_path / "out")]
    assert main(["classify", *flags]) == 0 and not capsys.readouterr().out
    found = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    expected = classify(load_fastbert(place / "model"), TEXTS[:6], TEXTS[6:], speed=0.5)
    assert [row["label"] for row in found] == expected.labels
    assert [row["exit_layer"] for row in found] == expected.exit_layer.tolist()
    assert set(found[0]["probabilities"]) == set(LABELS)


def test_a_process_that_has_no_fairseq(place):
    program = (
        "import sys; sys.modules['fairseq'] = None\n"
        "from cmlm_kd.cli import main\n"
        "status = main(sys.argv[1:])\n"
        "assert not [name for name in sys.modules if name.startswith(('fairseq.', 'fairseq_'))]\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "classify", "--model", place / "model", "--speed", "1"],
        input="the film was good\n",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split("\t")[1] == "1"


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("good\n", ("--speed", "1.5"), "--speed is 1.5; it is an uncertainty and must be in [0, 1]"),
        ("good\n", ("--speed", "nan"), "--speed is nan"),
        ("\ngood\n", (), "standard input, line 1: the text is empty"),
        ("good\tbad\tfine\n", (), "line 1: 3 fields; a line is text, or text<TAB>text"),
        ("film " * 60, (), "standard input, line 1: the text is longer than the 40 tokens"),
        ("good\n", ("--batch-size", "0"), "--batch-size is 0"),
        ("good\n", ("--device", "cpu:none"), "--device is 'cpu:none', which torch can't use"),
    ],
)
def test_what_classify_refuses(place, capsys, monkeypatch, text, flags, message):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert message in fails(capsys, "classify", "--model", place / "model", *flags)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("good\n\nbad\n", "line 2: the text is empty"),
        ("good\tbad\n\tfine\n", "line 2: the text is empty"),
        ("good\tbad\nfine\n", "line 2: 1 fields, but 2 in the first line"),
        ("good\n\u200b\n", "line 2: the text is '\\u200b', of which the tokenizer leaves nothing"),
        (f"good\n{'film ' * 60}\nbad\n", "line 2: the text is longer than the 40 tokens"),
    ],
)
def test_texts_before_one_that_is_refused_are_answered(place, capsys, monkeypatch, text, message):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main(["classify", "--model", str(place / "model"), "--speed", "0.5"]) == 2
    printed = capsys.readouterr()
    assert f"standard input, {message}" in printed.err and printed.err.count("\n") == 1
    first, *second = text.splitlines()[0].split("\t")
    expected = classify(load_fastbert(place / "model"), [first], second or None, speed=0.5)
    header, *rows = [line.split("\t") for line in printed.out.splitlines()]
    assert header[0] == "label" and [row[0] for row in rows] == expected.labels


def test_models_that_classify_refuses(place, capsys, tmp_path):
    texts = place / "texts.txt"
    assert "the model was not self-distilled" in fails(
        capsys, "classify", texts, "--model", place / "fine-tuned", "--speed", "0.5"
    )
    assert "is no fine-tuned classifier" in fails(capsys, "classify", texts, "--model", place / "encoder")
    assert "does not exist" in fails(capsys, "classify", texts, "--model", tmp_path / "none.pt")
    one = json.loads((place / "model" / "config.json").read_text())
    one |= {"id2label": {"0": "only"}, "label2id": {"only": 0}}
    save_fastbert(tmp_path / "one", load_fastbert(place / "model"))
    (tmp_path / "one" / "config.json").write_text(json.dumps(one))
    assert "two classes or more, there is 1" in fails(capsys, "classify", texts, "--model", tmp_path / "one")
    flags = ("classify", str(texts), "--model", str(place / "fine-tuned"), "--speed", "0", "--truncate")
    assert main(list(flags)) == 0  # all layers need no branch


def test_a_calibrated_threshold_is_the_models_own(place, copied, capsys):
    flags = ("--corpus", "SST-2", "--target-speedup", "1.5")
    assert main(["calibrate", str(copied), str(place / "SST-2"), *flags]) == 0
    printed = capsys.readouterr().out
    assert "20 held-out examples" in printed and "| calibrated" in printed
    noted = json.loads((copied / "config.json").read_text())["fastbert"]
    assert 0 < noted["speed"] < 1 and noted["calibration"]["speedup"] >= 1.5
    assert noted["calibration"]["examples"] == 20
    assert (copied / "calibration.png").read_bytes().startswith(b"\x89PNG")
    model = load_fastbert(copied)
    assert model.speed == noted["speed"]
    by_default, by_hand = classify(model, TEXTS), classify(model, TEXTS, speed=noted["speed"])
    assert by_default.exit_layer.tolist() == by_hand.exit_layer.tolist() != [1] * len(TEXTS)


def test_calibrating_by_accuracy_on_all_of_a_split(place, copied, capsys, tmp_path):
    plot = tmp_path / "elsewhere.png"
    flags = ("--corpus", "SST-2", "--target-accuracy", "0.1", "--split", "valid", "--hold-out", "0")
    assert main(["calibrate", str(copied), str(place / "SST-2"), *flags, "--plot", str(plot)]) == 0
    assert "30 held-out examples" in capsys.readouterr().out and plot.exists()
    assert (
        json.loads((copied / "config.json").read_text())["fastbert"]["calibration"]["target_accuracy"] == 0.1
    )


def test_what_calibrate_refuses(place, copied, capsys):
    data = (place / "SST-2", "--corpus", "SST-2")
    cases = [
        (("--target-accuracy", "1.5"), "--target-accuracy is 1.5"),
        (("--target-speedup", "100"), "--target-speedup 100 is not reached"),
        (("--target-speedup", "2", "--hold-out", "1"), "--hold-out is 1"),
        (("--target-speedup", "2", "--split", "valid"), "pass --hold-out 0"),
        (("--target-speedup", "2", "--hold-out-seed", "-1"), "--hold-out-seed is -1"),
    ]
    for flags, message in cases:
        assert message in fails(capsys, "calibrate", copied, *data, *flags)
    goal = ("--target-speedup", "2")
    assert fails(capsys, "calibrate", place / "fine-tuned", *data, *goal) == (
        "cmlm-kd calibrate: the model was not self-distilled: its branches are random, and leaving early "
        "means nothing; train them with --criterion fastbert_kd\n"
    )
    assert "is no directory" in fails(capsys, "calibrate", place / "checkpoint.pt", *data, *goal)
    assert load_fastbert(copied).speed is None


def test_exits_beside_fixed_depths(place, copied, capsys, tmp_path):
    main(["calibrate", str(copied), str(place / "SST-2"), "--corpus", "SST-2", "--target-speedup", "2"])
    capsys.readouterr()
    words = ["exits", str(copied), str(place / "SST-2"), "--corpus", "SST-2", "--speed", "0.2", "0.9"]
    plain = ["--plain", str(place / "fine-tuned"), "--plot", str(tmp_path / "exits.png")]
    plain += ["--html", str(tmp_path / "exits.html")]
    assert main([*words, *plain]) == 0
    table = capsys.readouterr().out
    names = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:]
    depths = [f"all after layer {layer}" for layer in (1, 2, 3, 4)]
    assert names == ["fine-tuned encoder", "speed 0.2", "speed 0.9", "calibrated", *depths]
    assert (tmp_path / "exits.png").exists()
    page = (tmp_path / "exits.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "30 examples of" in page and "fine-tuned encoder" in page
    assert main([*words, "--format", "json", "--output", str(tmp_path / "exits.json")]) == 0
    document = json.loads((tmp_path / "exits.json").read_text())
    assert document["examples"] == 30 and len(document["choices"]) == 7
    assert document["choices"][-1]["speedup"] == 1.0
    assert sum(document["choices"][0]["histogram"]) == 30


def test_what_exits_refuses(place, capsys, tmp_path):
    words = ("exits", place / "model", place / "SST-2", "--corpus", "SST-2")
    assert "--speed is 2.0" in fails(capsys, *words, "--speed", "2")
    undistilled = ("exits", place / "fine-tuned", *words[2:])
    assert fails(capsys, *undistilled) == (
        "cmlm-kd exits: the model was not self-distilled: its branches are random, and leaving early means "
        "nothing; train them with --criterion fastbert_kd\n"
    )
    write_bert(tmp_path / "scorer", labels=())
    capsys.readouterr()
    assert "predicts a score" in fails(capsys, *words, "--plain", tmp_path / "scorer")


def test_evaluate_takes_a_fastbert_for_what_it_is_at_speed_0(place, capsys):
    words = ("evaluate", place / "SST-2", "--corpus", "SST-2", "--no-speed", "--model", place / "model")
    assert main([str(word) for word in words]) == 0
    assert "| model " in capsys.readouterr().out


def test_the_pages_commands(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_fastbert(tmp_path / "fastbert-sst2", load_fastbert(place / "model"))
    write_sst2(tmp_path / "glue" / "SST-2", train=200)
    (tmp_path / "reviews.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    flags = classification(
        place / "SST-2", tmp_path / "fine-tuned", "--arch", "fastbert", bert=place / "encoder"
    )
    run_train(*flags)
    for words in commands("docs/early_exit.md"):
        assert main(words[1:]) == 0
    assert "| calibrated" in capsys.readouterr().out and (tmp_path / "exits.png").exists()
    (program,) = blocks("docs/early_exit.md", "python")
    exec(program, {})
    assert capsys.readouterr().out.startswith("['")
