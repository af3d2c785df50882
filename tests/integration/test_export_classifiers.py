"""Classifiers in other runtimes: the same classes, or nothing is left."""

import json
import subprocess
import sys

import pytest
from classification_runs import fine_tune, write_root
from disk import names
from fairseq_runs import run_train
from tiny_classification import LABELS, classification, sentences, write_pairs

import cmlm_kd
from cmlm_kd.cli import main
from cmlm_kd.errors import UserError

TEXTS, CLASSES = zip(*sentences(20, seed=11), strict=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = write_root(tmp_path_factory.mktemp("classification"))
    fine_tune(folder)
    (folder / "some.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    (folder / "classes.txt").write_text("".join(f"{LABELS[label]}\n" for label in CLASSES))
    return folder


@pytest.fixture(scope="module")
def graph(root):
    """The fine-tuned BERT as an ONNX graph."""
    flags = ("--sentences", root / "some.txt", "--references", root / "classes.txt")
    command = ["export", root / "plain" / "checkpoint_last.pt", "--to", "onnx", "--output", root / "graph"]
    assert main([str(word) for word in (*command, *flags)]) == 0
    return root / "graph"


def test_a_graph_classifies_as_the_checkpoint(root, graph):
    record = json.loads((graph / "export.json").read_text())
    assert record["parity"]["equal"] == 20 and record["parity"]["largest_difference"] < 1e-4
    assert record["parity"]["accuracy_before"] == record["parity"]["accuracy_after"]
    assert record["opset"] == 18 and record["versions"]["onnxruntime"] and record["labels"] == list(LABELS)
    wanted = cmlm_kd.load(root / "plain" / "checkpoint_last.pt").classify(TEXTS)
    assert [one.label for one in cmlm_kd.load(graph).classify(TEXTS)] == [one.label for one in wanted]
    assert main(["verify", str(graph)]) == 0


def test_without_sentences_the_dev_set_of_the_training_is_compared(root, tmp_path, capsys):
    assert (
        main(["export", str(root / "plain" / "checkpoint_last.pt"), "--output", str(tmp_path / "out")]) == 0
    )
    printed = capsys.readouterr().out
    assert "classes equal: 16 of 16, on the dev set of SST-2" in printed and "accuracy" in printed


def test_the_command_classifies_with_a_graph(root, graph, capsys):
    command = ["classify", str(root / "some.txt"), "--model", str(graph), "--format", "jsonl"]
    assert main(command) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["label"] for row in rows] == [one.label for one in cmlm_kd.load(graph).classify(TEXTS)]
    assert main(["classify", str(root / "some.txt"), "--model", str(graph), "--speed", "0.5"]) == 2
    assert "--speed is for early exits" in capsys.readouterr().err


def test_the_cards_code_runs_without_this_project(graph):
    code = (graph / "README.md").read_text().split("```python\n")[1].split("```")[0]
    program = "import sys\nsys.modules['cmlm_kd'] = sys.modules['torch'] = None\n" + code
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=graph.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == cmlm_kd.load(graph).classify(TEXTS[:1])[0].label


@pytest.mark.parametrize("corpus", ["RTE", "STS-B"])
@pytest.mark.parametrize("target", ["onnx", "huggingface"])
def test_the_cards_code_of_pairs_gives_both_and_of_scores_the_number(root, tmp_path, corpus, target, capsys):
    checkpoint = root / corpus / "checkpoint_last.pt"
    if not checkpoint.exists():
        write_pairs(root / f"data-{corpus}", corpus)
        data = root / f"data-{corpus}"
        run_train(*classification(data, root / corpus, bert=root / "encoder", corpus=corpus))
    directory = tmp_path / "out"
    assert main(["export", str(checkpoint), "--to", target, "--output", str(directory)]) == 0
    assert f"{'scores' if corpus == 'STS-B' else 'classes'} equal: 10 of 10" in capsys.readouterr().out
    code = (directory / "README.md").read_text().split("```python\n")[1].split("```")[0]
    program = "import sys\nsys.modules['cmlm_kd'] = None\n" + code
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    _, first, second, _ = (root / f"data-{corpus}" / "dev.tsv").read_text().splitlines()[1].split("\t")
    (wanted,) = cmlm_kd.load(directory).classify([first], [second])
    if wanted.score is None:
        assert done.stdout.strip() == wanted.label
    else:
        assert float(done.stdout) == pytest.approx(wanted.score, abs=1e-5)


def test_a_device_that_is_not_there_is_named(graph):
    with pytest.raises(UserError, match="--device is 'banana', which torch can't use"):
        cmlm_kd.load(graph, device="banana")


def test_what_is_refused(root, tmp_path, capsys):
    checkpoint = root / "plain" / "checkpoint_last.pt"

    def refused(*words):
        assert main(["export", *map(str, words), "--output", str(tmp_path / "out")]) == 2
        assert names(tmp_path) == []
        return capsys.readouterr().err

    assert "takes translation students" in refused(checkpoint, "--to", "ctranslate2")
    assert "--task goes with checkpoints of multitask_bert" in refused(checkpoint, "--task", "RTE")
    assert "--quantize goes with --to onnx" in refused(checkpoint, "--quantize", "int8")
    assert "does not exist" in refused(checkpoint, "--sentences", tmp_path / "none.txt")
    flags = ("--sentences", root / "some.txt", "--least-equal", 1.1)
    assert "--least-equal" in refused(checkpoint, *flags)
