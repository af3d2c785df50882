"""Teachers help: students that see what a teacher says about text whose labels are drawn by lot, beside
students that see a few right labels alone."""

import random

import numpy as np
import pytest
from fairseq_runs import run_train
from tiny_classification import BAD, FILLERS, GOOD, LABELS, sentences, write_bert

from cmlm_kd.cli import main
from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.models.loading import load_student
from cmlm_kd.models.prediction import predict_logits

SHOWN = (*GOOD[:2], *BAD[:2])
"""The telling words of the labelled sentences; the other six of ten decide what a student is worth."""

UPDATES = 120
BERT = ("--arch", "bert_classifier", "--dropout", 0, "--optimizer", "bert_adamw", "--lr", 2e-3)
BILSTM = (
    *("--arch", "bilstm_classifier", "--hidden-size", 16, "--fc-size", 16),
    *("--optimizer", "adam", "--lr", 0.01),
)


def write_lines(path, texts, classes):
    path.write_text("".join(f"{text}\t{LABELS[label]}\n" for text, label in zip(texts, classes, strict=True)))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Corpora, an encoder, word vectors, a teacher, and text whose labels say nothing: all that can be learnt
    from it comes from the teacher."""
    root = tmp_path_factory.mktemp("students")
    data = root / "data"
    data.mkdir()
    for name, count, seed in (("train", 400, 1), ("dev", 200, 2)):
        texts, classes = zip(*sentences(count, seed), strict=True)
        write_lines(data / f"{name}.tsv", texts, classes)
    few = [pair for pair in sentences(60, 3) if set(pair[0].split()) & set(SHOWN)][:8]
    write_lines(data / "few.tsv", *zip(*few, strict=True))
    generator = random.Random(5)
    vectors = [
        [word, *(f"{generator.gauss(0, 1):.3f}" for _ in range(8))] for word in (*GOOD, *BAD, *FILLERS)
    ]
    (root / "vectors.txt").write_text("".join(" ".join(row) + "\n" for row in vectors))
    write_bert(root / "encoder", labels=None, layers=3)
    train(root, "teacher", *BERT, "--bert", root / "encoder", file="train.tsv")
    checkpoint = root / "teacher" / "checkpoint_last.pt"
    assert main(["export", str(checkpoint), "--output", str(root / "exported")]) == 0
    transfer = [text for text, _ in sentences(400, 4)]
    write_lines(data / "transfer.tsv", transfer, [generator.randrange(2) for _ in transfer])
    return root


def train(root, name, *flags, file, criterion="sentence_classification", updates=UPDATES):
    """Train on a file of the corpus, and return the accuracy on the dev set."""
    run_train(
        *(root / "data", "--task", "classification_kd", "--corpus", "text", "--train-file", file, "--cpu"),
        *("--criterion", criterion, "--batch-size", 32, "--max-update", updates, "--seed", 1),
        *("--save-dir", root / name, "--no-epoch-checkpoints", "--disable-validation", "--no-progress-bar"),
        *flags,
    )
    texts, classes = zip(*sentences(200, 2), strict=True)
    logits = predict_logits(
        load_student(root / name / "checkpoint_last.pt"), Examples(list(texts), None, None, (), "dev")
    )
    return float((logits.argmax(1) == np.array(classes)).mean())


def taught(root, name, criterion, *flags, cached=True, **settings):
    """Train on the text with labels by lot, with what the teacher says about it."""
    cache = ("--teacher-cache", root / f"{name}-outputs") if cached else ()
    teacher = ("--teacher", root / "exported", *cache)
    return train(root, name, *teacher, *flags, file="transfer.tsv", criterion=criterion, **settings)


@pytest.fixture(scope="module")
def small(root):
    """Flags of the BERT students: the first two layers of three, before any fine-tuning."""
    return (*BERT, "--bert", root / "encoder", "--layers", 2)


@pytest.fixture(scope="module")
def alone(root, small):
    """Accuracy of the BERT student that has labels alone."""
    return train(root, "alone", *small, file="few.tsv")


def test_the_labels_by_lot_teach_nothing(root, small):
    assert train(root, "by-lot", *small, file="transfer.tsv") < 0.7


def test_pkd(root, small, alone):
    distilled = taught(root, "pkd", "pkd", *small, "--kd-beta", 10, "--kd-temperature", 2)
    assert distilled > 0.9 and distilled > alone + 0.1


def test_tinybert(root, small, alone):
    taught(root, "layers", "tinybert_kd", *small, cached=False)
    start = ("--finetune-from-model", root / "layers" / "checkpoint_last.pt")
    distilled = taught(
        root, "tinybert", "tinybert_kd", *small, *start, "--kd-stage", "prediction", updates=60
    )
    assert distilled > 0.9 and distilled > alone + 0.1


def test_mtdnn(root, small, alone):
    distilled = taught(root, "mtdnn", "mtdnn_kd", *small)
    assert distilled > 0.9 and distilled > alone + 0.1


def test_bilstm(root):
    student = (*BILSTM, "--word-vectors", root / "vectors.txt", "--extra-words", 100)
    alone = train(root, "bilstm-alone", *student, file="few.tsv")
    distilled = taught(root, "bilstm", "bilstm_kd", *student)
    assert distilled > 0.9 and distilled > alone + 0.1
