"""``--task cmlm``: BERT fine-tuned through fairseq-train."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from fairseq import options
from fairseq_cli import validate
from fairseq_runs import TINY_STUDENT, build_task, config, run_train
from tiny_prepare import forget_checksums
from tiny_teacher import write_bert

from cmlm_kd.api.next_tokens import Pairs, TeacherOptions, TranslationData
from cmlm_kd.cli import main
from cmlm_kd.data.translation.folds import fold_of
from cmlm_kd.data.translation.vocabulary import NO_TEACHER_ID, Vocabulary
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import (
    BERT_CONFIG,
    DICTIONARY_HASH,
    FOLD,
    OPTIMIZED,
    PATIENCE,
    TOKENIZER_HASH,
)
from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.models.cmlm_loading import fold_of_teacher, load_teacher
from cmlm_kd.teachers.folds import in_order_of_folds
from cmlm_kd.teachers.kinds import load_teachers
from fairseq_plugins.criterions.cmlm import CMLMCriterion

PAIRS, VALID, LONGEST = 24, 6, 40
WORDS = {"de": ["ein", "hund", "mann", "sieht", "geht"], "en": ["a", "dog", "man", "sees", "goes"]}
MODEL = ("--task", "cmlm", "--criterion", "cmlm", "--arch", "bert_cmlm", "--optimizer", "bert_adamw", "--cpu")


def write_pairs(folder, split, count, seed):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, 9, count)
    for language, words in WORDS.items():
        lines = [" ".join(generator.choice(words, length)) for length in lengths]
        (folder / f"{split}.{language}").write_text("\n".join(lines) + "\n")


def prepare(root, destination, *, source="de", target="en", train="train", teacher="bert", expect=0):
    flags = ["-s", source, "-t", target, "--trainpref", root / train, "--validpref", root / "valid"]
    flags += ["--teacher", root / teacher, "--destdir", destination]
    assert main(["prepare", *map(str, flags)]) == expect
    return destination


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A folder with two BERTs and a data-bin."""
    root = tmp_path_factory.mktemp("cmlm")
    for seed, (split, count) in enumerate({"train": PAIRS, "valid": VALID, "more": 10}.items()):
        write_pairs(root, split, count, seed)
    text = [line for language in WORDS for line in (root / f"train.{language}").read_text().splitlines()]
    write_bert(root / "bert", text, max_positions=LONGEST)
    write_bert(root / "other-bert", [line.upper() for line in text], max_positions=LONGEST)
    prepare(root, root / "data")
    return root


@pytest.fixture
def seen(monkeypatch):
    """What the criterion meets: (training, loss a masked position, rows, labels)."""
    batches = []
    forward = CMLMCriterion.forward

    def remember(self, model, sample, reduce=True):
        result = forward(self, model, sample, reduce)
        loss = float(result[0].detach()) / result[1]
        batches.append((self.training, loss, tuple(sample["id"].tolist()), sample["target"].tolist()))
        return result

    monkeypatch.setattr(CMLMCriterion, "forward", remember)
    return batches


def train(road, save_dir, *flags, data="data", updates=2, batch=8):
    run_train(
        *(road / data if isinstance(data, str) else data, *MODEL, "--save-dir", save_dir, "--seed", 3),
        *("--lr-scheduler", "polynomial_decay", "--total-num-update", 10, "--warmup-updates", 1),
        *("--batch-size", batch, "--max-update", updates, "--num-workers", 0, *flags),
    )
    return save_dir / "checkpoint_last.pt"


def losses(batches, training=True):
    return [loss for is_training, loss, _, _ in batches if is_training == training]


def weights(checkpoint):
    return torch.load(checkpoint, weights_only=True)["model"]


# Beside a student


def test_predictions_that_it_has_no_token_for_are_not_read(road, tmp_path):
    """An untrained student predicts entries that fill the dictionary up to a multiple of 8."""
    checkpoint = train(road, tmp_path / "teacher", "--bert", road / "bert", updates=1)
    vocabulary = Vocabulary.load(road / "data", "en")
    filling = int(np.flatnonzero(vocabulary.teacher_ids == NO_TEACHER_ID)[0])
    data = TranslationData(road / "data", "de", "en", len(vocabulary))
    teacher = load_teachers([str(checkpoint)], data, TeacherOptions())
    source = np.array([5, 6, 2])
    targets = [np.array([5, word, 2]) for word in (filling, 6, vocabulary.index("<s>"))]
    assert teacher.readable(Pairs([source] * 3, targets)).tolist() == [False, True, True]
    run_train(
        *(road / "data", "--task", "translation_kd", "--criterion", "tie_kd", *TINY_STUDENT, "--lr", 1e-9),
        *("--online-teacher", checkpoint, "--kd-topk", 3, "--max-tokens", 99, "--max-epoch", 1),
        *("--disable-validation", "--save-dir", tmp_path / "student", "--no-epoch-checkpoints"),
    )
    state = torch.load(tmp_path / "student" / "checkpoint_last.pt", weights_only=False)
    meters = dict((entry[1], entry[3]) for entry in state["extra_state"]["metrics"]["train"])
    assert float(meters["without_teacher"]["sum"]) == 0
    # Of three iterations the first is heard in full.
    tokens = float(meters["kd_tokens"]["sum"])
    assert tokens <= float(meters["kd_kl"]["count"]) < 3 * tokens


# Training


def test_two_updates_and_what_the_checkpoint_holds(road, tmp_path, seen):
    shutil.copytree(road / "bert", tmp_path / "bert")
    checkpoint = train(road, tmp_path / "save", "--bert", tmp_path / "bert", "--lr", 1e-3)
    shutil.rmtree(tmp_path / "bert")
    assert len(losses(seen)) == 2 and all(map(math.isfinite, losses(seen)))
    state = torch.load(checkpoint, weights_only=True)
    assert state["task_state"].keys() == {
        *(BERT_CONFIG, DICTIONARY_HASH, OPTIMIZED, PATIENCE, TOKENIZER_HASH)
    }
    assert all(value.dtype == torch.float32 for value in state["model"].values())
    teacher = load_teacher(checkpoint, road / "data")  # needs nothing but the checkpoint and the data
    assert torch.equal(teacher.projection.weight, state["model"]["teacher.projection.weight"])
    assert teacher.transform is not None  # the masked-LM head's


def test_resuming_is_going_on(road, tmp_path, seen):
    whole = train(road, tmp_path / "whole", updates=5)  # dropout and masks included, over an epoch's end
    uninterrupted = losses(seen)
    seen.clear()
    for updates in (2, 5):
        resumed = train(road, tmp_path / "resumed", updates=updates)
    assert losses(seen) == uninterrupted
    wanted, found = weights(whole), weights(resumed)
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


def test_workers_change_nothing(road, tmp_path, seen):
    # The batches are seen where they are trained on, in this process.
    train(road, tmp_path / "none")
    alone = list(seen)
    seen.clear()
    train(road, tmp_path / "two", "--num-workers", 2)
    assert seen == alone


def test_update_freq_adds_up(road, tmp_path):
    """An epoch in one batch, or in three that are added up: the same step."""
    flags = ("--dropout", 0, "--lr", 1e-2, "--warmup-updates", 0, "--disable-validation")
    once = weights(train(road, tmp_path / "once", *flags, updates=1, batch=PAIRS))
    parts = weights(train(road, tmp_path / "parts", *flags, "--update-freq", 3, updates=1))
    start = weights(train(road, tmp_path / "start", *flags, "--lr", 0, updates=1))
    moved = max((once[name] - start[name]).abs().max() for name in once)
    # Adam divides by the gradient's size, so that where it is near zero its rounding decides.
    apart = np.concatenate([(once[name] - parts[name]).abs().flatten().numpy() for name in once])
    assert moved > 5e-3 and np.quantile(apart, 0.99) < 1e-5


def test_batches_hold_the_gradient_of_a_mean(road, tmp_path, seen):
    train(road, tmp_path / "save", "--dropout", 0, "--lr", 0, updates=3)
    chances = math.log(len(Databin.open(road / "data" / "train.de-en.en").tokens))
    assert all(0 < loss < 3 * chances for loss in losses(seen))  # a sum would be many times that


def test_bf16_autocast(road, tmp_path, seen):
    exact = train(road, tmp_path / "exact", "--dropout", 0)
    wanted = losses(seen)
    seen.clear()
    fast = train(road, tmp_path / "fast", "--dropout", 0, "--bf16-autocast")
    assert losses(seen) != wanted
    np.testing.assert_allclose(losses(seen), wanted, rtol=0.02)
    assert {value.dtype for value in weights(fast).values()} == {torch.float32}
    assert weights(exact).keys() == weights(fast).keys()


def test_bf16_autocast_goes_with_float32_weights(road, tmp_path):
    with pytest.raises(UserError, match="--bf16-autocast keeps the weights in float32"):
        train(road, tmp_path, "--bf16-autocast", "--fp16", "--fp16-no-flatten-grads")


def test_fp16(road, tmp_path, seen):
    checkpoint = train(road, tmp_path / "save", "--fp16", "--fp16-no-flatten-grads", "--fp16-init-scale", 4)
    assert len(losses(seen)) == 2 and all(map(math.isfinite, losses(seen)))
    load_teacher(checkpoint, road / "data")


def test_matrices_cannot_be_told_from_biases_in_one_flat_vector(road, tmp_path):
    with pytest.raises((UserError, RuntimeError), match="--fp16-no-flatten-grads"):
        train(road, tmp_path, "--fp16")


# Data


def masks_of(batches):
    """Return row -> labels of each of its appearances in training, where rows come one a batch."""
    found = {}
    for training, _, rows, labels in batches:
        if training:
            found.setdefault(rows[0], []).append(labels)
    return found


def test_masks_are_new_in_each_epoch_of_training(road, tmp_path, seen):
    train(road, tmp_path, "--lr", 0, "--max-epoch", 6, "--disable-validation", updates=0, batch=1)
    masks = masks_of(seen)
    assert masks.keys() == set(range(PAIRS)) and {len(draws) for draws in masks.values()} == {6}
    assert all(len({tuple(labels) for labels in draws}) > 1 for draws in masks.values())


def test_masks_of_validation_never_change(road, tmp_path, seen):
    train(road, tmp_path / "save", "--lr", 0, "--max-epoch", 3, updates=0)
    validation = [batch[1:] for batch in seen if not batch[0]]
    assert len(validation) == 3 and validation[0] == validation[1] == validation[2]
    seen.clear()
    train(road, tmp_path / "seed", "--lr", 0, "--max-epoch", 1, "--seed", 9, updates=0)
    assert [batch[1:] for batch in seen if not batch[0]] == validation[:1]


def test_epoch_shards(road, tmp_path, seen):
    """The second epoch reads the second directory."""
    shard = tmp_path / "shard"
    forget_checksums(shutil.copytree(road / "data", shard))
    for language in WORDS:
        for suffix in ("bin", "idx"):
            shutil.copy(
                road / "data" / f"valid.de-en.{language}.{suffix}", shard / f"train.de-en.{language}.{suffix}"
            )
    both = f"{road / 'data'}:{shard}"
    train(road, tmp_path / "save", "--max-epoch", 3, "--disable-validation", data=both, updates=0)
    rows = [len(batch[2]) for batch in seen]
    assert rows == [8, 8, 8, VALID, 8, 8, 8]
    with pytest.raises(UserError, match=r"target dictionary .* has"):
        prepare(road, tmp_path / "more", train="more")
        train(
            road, tmp_path / "other", "--max-epoch", 2, data=f"{road / 'data'}:{tmp_path / 'more'}", updates=0
        )


def test_several_training_sets(road, tmp_path, seen):
    data = tmp_path / "data"
    shutil.copytree(road / "data", data)
    for language in WORDS:
        for suffix in ("bin", "idx"):
            name = f"de-en.{language}.{suffix}"
            shutil.copy(data / f"valid.{name}", data / f"train1.{name}")
    train(road, tmp_path / "save", "--max-epoch", 1, "--mask-probability", 1, data=data, updates=0, batch=1)
    labels = {rows[0]: draws[0] for rows, draws in ((b[2], [b[3]]) for b in seen if b[0])}
    assert labels.keys() == set(range(PAIRS + VALID))
    for first, split in ((0, "train"), (PAIRS, "valid")):
        target = Databin.open(data / f"{split}.de-en.en")
        assert [labels[first + row] for row in range(len(target))] == [
            sentence.tolist() for sentence in target
        ]


def test_pairs_too_long_for_the_teacher_are_left_out(road, tmp_path, seen, caplog):
    text = {language: (road / f"train.{language}").read_text().splitlines() for language in WORDS}
    text["en"][5] = " ".join(["dog"] * LONGEST)
    for language, lines in text.items():
        (tmp_path / f"long.{language}").write_text("\n".join(lines) + "\n")
        shutil.copy(road / f"valid.{language}", tmp_path)
    shutil.copytree(road / "bert", tmp_path / "bert")
    data = prepare(tmp_path, tmp_path / "data", train="long")
    train(road, tmp_path / "save", "--max-epoch", 1, data=data, updates=0)
    assert sorted(row for batch in seen if batch[0] for row in batch[2]) == sorted(set(range(PAIRS)) - {5})
    assert f"1 of {PAIRS} pairs exceed {LONGEST} positions" in caplog.text
    for language in WORDS:
        (tmp_path / f"all.{language}").write_text(" ".join(["dog"] * LONGEST) + "\n")
    data = prepare(tmp_path, tmp_path / "all-long", train="all")
    with pytest.raises(UserError, match="so none is left"):
        train(road, tmp_path / "none", data=data)


def test_validation_by_itself(road, tmp_path, seen):
    checkpoint = train(road, tmp_path, updates=2)
    at_the_end = losses(seen, training=False)[-1]
    seen.clear()
    flags = (
        road / "data",
        "--path",
        checkpoint,
        "--task",
        "cmlm",
        "--valid-subset",
        "valid",
        "--batch-size",
        8,
        "--cpu",
    )
    validate.main(config(options.get_validation_parser(), *flags))
    assert losses(seen, training=False) == [at_the_end]


# What is refused


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--mask-probability", 0), "--mask-probability is 0.0"),
        (("--mask-probability", 1.5), "--mask-probability is 1.5"),
        (("--dropout", 1), "--dropout is 1.0"),
        (("-s", "en", "-t", "de"), "was prepared for de-en, not en-de"),
        (("--target-lang", "fr"), "was prepared for de-en, not de-fr"),
        (("--bert", "OTHER"), "is not the one"),
        (("--bert", "NOWHERE"), "NOWHERE"),
    ],
)
def test_bad_flags_are_named(road, tmp_path, flags, named):
    places = {"OTHER": road / "other-bert", "NOWHERE": road / "NOWHERE"}
    with pytest.raises(UserError, match=named):
        train(road, tmp_path, *(places.get(flag, flag) for flag in flags))


def test_data_in_the_tokens_of_a_tokenizer_alone(road, tmp_path):
    shutil.copytree(road / "bert", tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "config.json").unlink()
    data = prepare(road, tmp_path / "data", teacher=tmp_path / "tokenizer")
    with pytest.raises(UserError, match=r"was prepared with a tokenizer alone, .*; name the BERT .* --bert"):
        train(road, tmp_path / "save", data=data)
    assert load_teacher(train(road, tmp_path / "save", "--bert", road / "bert", data=data), data)


def test_data_that_were_not_prepared(road, tmp_path):
    with pytest.raises(UserError, match=r"has no prepare.json; write the data with 'cmlm-kd prepare'"):
        train(road, tmp_path, data=road / "bert")


def test_a_checkpoint_of_other_data_is_not_validated(road, tmp_path):
    checkpoint = train(road, tmp_path / "save", "--disable-validation", updates=1)
    state = torch.load(checkpoint, weights_only=True)
    state["task_state"][DICTIONARY_HASH] = "0" * 64
    torch.save(state, checkpoint)
    with pytest.raises(UserError, match="was fine-tuned for dictionary 00000000"):
        load_teacher(checkpoint, road / "data")


def test_a_split_that_is_missing(road):
    task, _ = build_task(road / "data", *MODEL)
    with pytest.raises(FileNotFoundError, match="Dataset not found: test"):
        task.load_dataset("test")
    assert json.loads((road / "data" / "prepare.json").read_text())["splits"].keys() == {"train", "valid"}


def test_a_fold_is_left_out_and_noted(road, tmp_path, seen):
    path = train(road, tmp_path, "--fold", "1/2", updates=4)
    target = Databin.open(road / "data" / "train.de-en.en")
    kept = {row for row in range(PAIRS) if fold_of(target[row], 2) != 1}
    assert {row for training, _, rows, _ in seen if training for row in rows} == kept
    assert {len(rows) for training, _, rows, _ in seen if not training} == {VALID}, "validation has no folds"
    assert torch.load(path, weights_only=True)["task_state"][FOLD] == "1/2"
    with pytest.raises(UserError, match=r"--fold 0/2: .* was kept from fold 1/2; begin anew"):
        train(road, tmp_path, "--fold", "0/2", updates=5)
    exported = tmp_path / "exported"
    flags = ("--to", "teacher", "--data", road / "data", "--output", exported)
    assert main(["export", *map(str, (path, *flags))]) == 0
    assert fold_of_teacher(exported) == "1/2", "a directory says what its checkpoint said"
    with pytest.raises(UserError, match="no teacher was trained without fold 0/2"):
        in_order_of_folds([str(exported)])
