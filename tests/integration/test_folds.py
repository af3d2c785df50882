"""Cross-fitting: teachers that are kept from a fold, and dumps by those that have not seen a row."""

import shutil

import numpy as np
import pytest
import torch
from fairseq_runs import TINY_STUDENT, build_task
from tiny_corpus import check_batch, write_store
from tiny_next_tokens import ROWS, train_translator, write_data

from cmlm_kd.cli import main
from cmlm_kd.data.translation.folds import Fold, fold_of
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import FOLD, task_state
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.store import SoftTargetStore

KD = ("--soft-targets", "none", "--lr", 0.05)


def train(root, name, *flags, updates=2):
    return train_translator(root / name, root / "data", *KD, *flags, task="translation_kd", updates=updates)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data-bin, a teacher of each of two folds, and one that has seen everything."""
    root = tmp_path_factory.mktemp("folds")
    write_data(root / "data")
    for fold in ("0/2", "1/2", "0/3"):
        train(root, fold.replace("/", "of"), "--fold", fold, "--seed", 1 + int(fold[0]))
    train(root, "all")
    return root


def targets(root):
    return Databin.open(root / "data" / "train.de-en.en")


def dump(root, output, *names, flags=("--folds",)):
    teachers = [root / name / "checkpoint_last.pt" for name in names]
    arguments = ["dump", root / "data", "--teacher", *teachers, "--output", output, "--topk", 3]
    return main([*map(str, (*arguments, "--shard-rows", 16, *flags))])


def test_folds_are_parts_and_equal_targets_are_in_one():
    generator = np.random.default_rng(0)
    rows = [generator.integers(4, 99, 5) for _ in range(900)]
    folds = np.array([fold_of(row, 3) for row in rows])
    assert (np.bincount(folds) > 250).all()
    assert fold_of(rows[0].astype(np.uint16), 3) == folds[0], "whatever the type on disk"
    assert fold_of(np.array([5, 2]), 7) == 6, "the same in every release"
    assert [Fold(i, 3).holds(rows[0]) for i in range(3)] == [i == folds[0] for i in range(3)]


@pytest.mark.parametrize("text", ["5", "2/2", "0/1", "-1/3", "a/b", "0/0"])
def test_what_is_no_fold(text):
    with pytest.raises(UserError, match=r"--fold is .*; give I/N, such as 0/5"):
        Fold.parse(text)


def test_training_leaves_out_its_fold_and_keeps_rows_with_their_soft_targets(root, tmp_path):
    store = write_store(tmp_path / "store", root / "data")
    task, cfg = build_task(
        *(root / "data", "--task", "translation_kd", "--soft-targets", store, *TINY_STUDENT),
        *("--fold", "1/2", "--criterion", "soft_target_kd", "--kd-topk", 3, "--save-dir", tmp_path / "new"),
    )
    task.build_criterion(cfg.criterion)
    task.load_dataset("train", combine=True)
    iterator = task.get_batch_iterator(task.dataset("train"), max_tokens=90, max_positions=(99, 99))
    batches = list(iterator.next_epoch_itr())
    seen = sorted(row for batch in batches for row in batch["id"].tolist())
    assert seen == [row for row in range(ROWS) if fold_of(targets(root)[row], 2) != 1]
    assert sum(check_batch(batch)[0] for batch in batches) > 5


def test_a_checkpoint_says_which_fold_it_was_kept_from(root):
    paths = [root / name / "checkpoint_last.pt" for name in ("0of2", "all")]
    kept, all_rows = (task_state(read_checkpoint(path)) for path in paths)
    assert kept[FOLD] == "0/2" and FOLD not in all_rows


def test_a_row_is_written_by_the_teacher_that_has_not_seen_it(root, tmp_path):
    for name in ("0of2", "1of2"):
        assert dump(root, tmp_path / name, name, flags=()) == 0
    assert dump(root, tmp_path / "store", "1of2", "0of2") == 0
    mine, *others = (SoftTargetStore.open(tmp_path / name) for name in ("store", "0of2", "1of2"))
    for row in range(ROWS):
        fold = fold_of(targets(root)[row], 2)
        for found, wanted, other in zip(mine[row], others[fold][row], others[1 - fold][row], strict=True):
            np.testing.assert_allclose(found, wanted, atol=4e-3, rtol=2e-3)
            assert found.dtype == np.uint16 or np.abs(found - other).max() > 0.01
    header = mine.manifest.header
    assert header.teacher_kind == "fairseq translator, 2 folds"
    again = dump(root, tmp_path / "store", "0of2", "1of2")
    assert again == 0, "in whatever order they are named"


@pytest.mark.parametrize(
    ("names", "flags", "message"),
    [
        (("0of2",), (), "no teacher was trained without fold 1/2, so its rows would get one that has seen"),
        (("0of2", "0of2"), (), "were both trained without fold 0/2; give one teacher for each"),
        (("0of2", "0of3"), (), "without fold 0/2, "),
        (("0of2", "all"), (), "has seen every row, or does not say which"),
        (("0of2", "1of2"), ("--weights", 1, 1), "with --folds each row has one teacher"),
    ],
)
def test_divisions_by_which_a_row_would_be_its_own_teachers(root, tmp_path, capsys, names, flags, message):
    assert dump(root, tmp_path / "store", *names, flags=("--folds", *flags)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error and not (tmp_path / "store").exists()


def test_a_training_does_not_go_on_from_what_has_seen_the_fold(root, tmp_path):
    shutil.copytree(root / "all", tmp_path / "all")
    for flags in (
        ("--save-dir", tmp_path / "all"),
        ("--finetune-from-model", root / "0of3/checkpoint_last.pt"),
    ):
        with pytest.raises(UserError, match=r"--fold 0/2: the training would go on from .*, which "):
            train(root, tmp_path / "other", "--fold", "0/2", *flags, updates=4)
    shutil.copytree(root / "0of2", tmp_path / "resumed")
    path = train(root, "unused", "--fold", "0/2", "--save-dir", tmp_path / "resumed", updates=3)
    path = tmp_path / "resumed" / path.name
    assert task_state(read_checkpoint(path))[FOLD] == "0/2"
    train(root, "unused", "--save-dir", tmp_path / "resumed", updates=4)  # from now on it sees everything
    assert FOLD not in torch.load(path, weights_only=False)["task_state"]
