"""Batches have all rows, whatever multiple fairseq makes them with."""

import numpy as np
import pytest
from fairseq.data import FairseqDataset
from fairseq_runs import TINY_STUDENT, build_task, run_generate
from tiny_classification import write_bert, write_masked_lm
from tiny_corpus import write_split, write_store
from tiny_multitask import multitask, write_tasks
from tiny_next_tokens import train_translator

from fairseq_plugins.training.batches import batches_of_all

MULTIPLE = 8
ROWS = {"train": 21, "valid": 6}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    for seed, (split, rows) in enumerate(ROWS.items()):
        write_split(root / "data", split, rows, seed)
    write_store(root / "store", root / "data")
    write_masked_lm(root / "mlm")
    write_bert(root / "encoder", labels=None, layers=1)
    (root / "text").mkdir()
    for name, rows in ROWS.items():
        (root / "text" / f"{name}.txt").write_text("the film was good and the plot was fine\n" * rows)
    write_tasks(root / "glue")
    return root


def batches(task, split, **limits):
    iterator = task.get_batch_iterator(
        task.dataset(split), required_batch_size_multiple=MULTIPLE, **{"max_sentences": 4, **limits}
    )
    return [list(batch) for batch in iterator.frozen_batches]


def rows_of(found):
    return sorted(row for batch in found for row in batch)


def kinds(root):
    translation = (root / "data", *TINY_STUDENT, "--task")
    return {
        "stock": (*translation, "translation"),
        "no store": (*translation, "translation_kd", "--soft-targets", "none"),
        "store": (*translation, "translation_kd", "--soft-targets", root / "store"),
        "text": (
            *(root / "text", "--task", "masked_lm_kd", "--criterion", "bert_mlm", "--arch", "bert_masked_lm"),
            *("--bert", root / "mlm", "--optimizer", "bert_adamw", "--cpu"),
        ),
        "several": multitask(root, root / "m", corpora="SST-2,QNLI", criterion="sentence_classification"),
    }


@pytest.mark.parametrize("kind", ["no store", "store", "text", "several"])
@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize("limits", [{"max_sentences": 5}, {"max_sentences": None, "max_tokens": 60}])
def test_no_row_of_our_tasks_is_left_out(root, kind, split, limits):
    task, whole = build_task(*kinds(root)[kind])
    task.build_model(whole.model)
    if kind != "several":
        task.build_criterion(whole.criterion)
    for name in ROWS:
        task.load_dataset(name)
    assert rows_of(batches(task, split, **limits)) == list(range(len(task.dataset(split))))


def test_fairseqs_own_task_trains_as_ever_and_validates_with_all_rows(root):
    task, _ = build_task(*kinds(root)["stock"])
    for name in ROWS:
        task.load_dataset(name)
    assert rows_of(batches(task, "valid")) == list(range(6))
    train = batches(task, "train", max_sentences=16)
    assert [len(batch) for batch in train] == [16]  # the last five make no multiple


def test_batches_but_the_last_are_fairseqs(root):
    task, _ = build_task(*kinds(root)["no store"])
    task.load_dataset("valid")
    dataset, rows = task.dataset("valid"), np.arange(6)[::-1]
    limits = {"max_tokens": 1000, "max_sentences": 4, "required_batch_size_multiple": 4}
    kept = FairseqDataset.batch_by_size(dataset, rows, **limits)
    assert [list(batch) for batch in kept] == [[5, 4, 3, 2]]
    assert [list(batch) for batch in batches_of_all(dataset, rows, **limits)] == [[5, 4, 3, 2], [1, 0]]
    assert batches_of_all(dataset, [], **limits) == []


def test_less_than_a_multiple_is_translated(root, tmp_path):
    student = train_translator(tmp_path, root / "data")
    for multiple in (1, MULTIPLE):
        found = run_generate(
            *(
                root / "data",
                "--task",
                "translation",
                "--path",
                student,
                "--gen-subset",
                "valid",
                "--beam",
                1,
            ),
            *("--cpu", "--required-batch-size-multiple", multiple),
        )
        assert sum(line.startswith("H-") for line in found.splitlines()) == 6
