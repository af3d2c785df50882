"""The dump: every target position predicted once, by the masks of the paper, and nothing lost."""

import gzip
import json
import resource
import shutil

import numpy as np
import pytest
import torch
from tiny_encoders import write_encoder
from tiny_teacher import write_bert
from torch import nn
from transformers import AutoConfig

import cmlm_kd.dump
from cmlm_kd.cli import main
from cmlm_kd.databin import Databin
from cmlm_kd.dump import Dumper, DumpOptions, summarise
from cmlm_kd.errors import UserError
from cmlm_kd.masking import cover_mask, cover_passes
from cmlm_kd.store import Corpus, SoftTargetStore, verify_store
from cmlm_kd.store.manifest import ShardPlan
from cmlm_kd.teachers.cmlm import ConditionalMaskedLM
from cmlm_kd.teachers.loading import load_teacher, save_teacher
from cmlm_kd.teachers.pairs import PairFormat, frame_pairs
from cmlm_kd.vocabulary import Vocabulary

ROWS, TOO_LONG = 26, 11
POSITIONS = 48


def write_corpus(folder):
    """Write pairs of 1 to 20 words; one of them is longer than the teacher's positions."""
    generator = np.random.default_rng(0)
    words = {
        "de": ["ein", "hund", "mann", "sieht", "und", "geht"],
        "en": ["a", "dog", "man", "sees", "and", "goes"],
    }
    for language, known in words.items():
        lengths = generator.permutation(np.resize(np.arange(1, 21), ROWS))
        lengths[:3] = 1, 6, 7  # targets about as long as the stride
        lengths[TOO_LONG] = 30
        lines = [" ".join(generator.choice(known, length)) for length in lengths]
        (folder / f"train.{language}").write_text("\n".join(lines) + "\n")


def write_teacher(root, data, name, seed):
    """Save a teacher with random weights of some size, so that its beliefs differ from place to place."""
    pieces = len((root / "bert" / "vocab.txt").read_text().splitlines())
    write_encoder(root / "encoder", vocab_size=pieces, max_position_embeddings=POSITIONS, seed=seed)
    target_ids = Vocabulary.load(data, "en").teacher_ids
    teacher = ConditionalMaskedLM.from_pretrained(str(root / "encoder"), target_ids)
    torch.manual_seed(seed)
    nn.init.normal_(teacher.projection.weight)
    save_teacher(teacher, data, root / name)


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A folder with a data-bin and two teachers."""
    root = tmp_path_factory.mktemp("road")
    write_corpus(root)
    write_bert(root / "bert", (root / "train.en").read_text().splitlines(), max_positions=POSITIONS)
    arguments = ["-s", "de", "-t", "en", "--trainpref", root / "train", "--teacher", root / "bert"]
    assert main(["prepare", *map(str, arguments), "--destdir", str(root / "data")]) == 0
    for seed in (1, 2):
        write_teacher(root, root / "data", f"teacher{seed}", seed)
    return root


def read_pairs(road):
    return tuple(Databin.open(road / "data" / f"train.de-en.{language}") for language in ("de", "en"))


def naive_logits(teacher, pair_format, source, target, stride=7):
    """Return ``(L, V)``: one pass at a time, alone in its batch."""
    logits = {}
    for index in range(cover_passes(len(target), stride)):
        mask = cover_mask(len(target), index, stride)
        with torch.no_grad():
            found = teacher(frame_pairs([source], [target], [mask], pair_format))  # (M, V)
        logits.update(zip(np.flatnonzero(mask).tolist(), found, strict=True))
    return torch.stack([logits[position] for position in range(len(target))])


def dump(road, output, *flags, teacher="teacher1"):
    arguments = ["dump", road / "data", "--teacher", road / teacher, "--output", output, *flags]
    return main([str(argument) for argument in arguments])


def small(*flags):
    """Small shards and batches, so that there are several of both."""
    return ("--shard-rows", 5, "--max-tokens", 100, "--topk", 3, *flags)


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# What is written


@pytest.mark.parametrize("stride", [7, 3])
def test_a_store_holds_what_one_pass_after_the_other_gives(road, tmp_path, stride):
    assert dump(road, tmp_path / "store", *small("--stride", stride)) == 0
    store = SoftTargetStore.open(tmp_path / "store", checksums=True)
    teacher, pair_format = (
        load_teacher(road / "teacher1", road / "data"),
        PairFormat.of_databin(road / "data"),
    )
    source, target = read_pairs(road)
    assert len(store) == ROWS and store.tail_temperatures == (1.0, 10.0)
    for row in range(ROWS):
        if row == TOO_LONG:
            assert store[row] is None
            continue
        logits = (
            naive_logits(teacher, pair_format, source[row], target[row], stride).double().numpy()
        )  # (L, V)
        ids, found, tail = store[row]
        assert ids.shape == (len(target[row]), 3)
        order = np.argsort(-logits, axis=1)[:, :3]
        np.testing.assert_array_equal(ids, order)
        np.testing.assert_allclose(found, np.take_along_axis(logits, order, 1), rtol=2**-10)
        np.put_along_axis(logits, order, -np.inf, 1)
        for column, temperature in enumerate((1.0, 10.0)):
            wanted = np.log(np.exp(logits / temperature).sum(axis=1))
            np.testing.assert_allclose(tail[:, column], wanted, rtol=2**-10, atol=1e-3)


def test_batches_put_every_prediction_in_its_place(road):
    """To float32's accuracy, before anything is rounded for the store."""
    source, target = read_pairs(road)
    teacher, pair_format = (
        load_teacher(road / "teacher1", road / "data"),
        PairFormat.of_databin(road / "data"),
    )
    dumper = Dumper(teacher, pair_format, DumpOptions(topk=1, max_tokens=120))
    seen, kept = [], []
    predict = dumper.predictor.logits

    def remember(batch):
        logits = predict(batch)
        kept.append(logits.clone())
        assert batch.input_ids.numel() <= 120
        return logits

    dumper.predictor.logits = remember
    rows = dumper.shard(source, target, ShardPlan(0, 0, ROWS, "shard"))
    framed = pair_format.lengths(source.sizes, target.sizes)
    for batch in dumper.batches(framed, rows.lengths):
        for row, index in batch:
            seen += [(row, position) for position in np.flatnonzero(cover_mask(len(target[row]), index))]
    everywhere = [
        (row, position) for row in range(ROWS) if row != TOO_LONG for position in range(len(target[row]))
    ]
    assert sorted(seen) == everywhere  # each once
    found = dict(zip(seen, torch.cat(kept), strict=True))
    for row in range(ROWS):
        if row != TOO_LONG:
            wanted = naive_logits(teacher, pair_format, source[row], target[row])
            together = torch.stack([found[row, position] for position in range(len(target[row]))])
            torch.testing.assert_close(together, wanted, rtol=1e-5, atol=1e-5)


def test_shards_and_batches_do_not_change_the_beliefs(road, tmp_path):
    assert dump(road, tmp_path / "one", "--topk", 3) == 0
    assert dump(road, tmp_path / "many", *small()) == 0
    one, many = (SoftTargetStore.open(tmp_path / name) for name in ("one", "many"))
    assert len(one.shards) == 1 and len(many.shards) == 6
    for row in set(range(ROWS)) - {TOO_LONG}:
        for first, second in zip(one[row], many[row], strict=True):
            np.testing.assert_allclose(first, second, rtol=2**-9)


def test_the_too_long_pair_is_counted(road, tmp_path, capsys):
    assert dump(road, tmp_path / "store") == 0
    assert "1 pairs exceed the teacher's positions" in capsys.readouterr().out
    assert (
        sum(shard.rows_without_teacher for shard in SoftTargetStore.open(tmp_path / "store").manifest.shards)
        == 1
    )


def test_autocast_is_named_and_close(road, tmp_path):
    assert dump(road, tmp_path / "exact", "--topk", 5) == 0
    assert dump(road, tmp_path / "fast", "--topk", 5, "--bf16-autocast") == 0
    exact, fast = (SoftTargetStore.open(tmp_path / name) for name in ("exact", "fast"))
    assert exact.manifest.header.settings["precision"] == "float32"
    assert fast.manifest.header.settings["precision"] == "bfloat16 autocast"
    tops = np.concatenate(
        [(exact[row].logits[:, 0], fast[row].logits[:, 0]) for row in range(TOO_LONG)], axis=1
    )
    assert 0 < np.abs(tops[0] - tops[1]).max() < 0.05 * np.abs(tops[0]).max()


@pytest.mark.parametrize("k", [1, 4, 9])
def test_summary_of_logits(k):
    logits = torch.from_numpy(np.random.default_rng(k).normal(0, 5, (6, 9)))  # (M, V)
    temperatures = (1.0, 0.5, 10.0)
    ids, top, tail = summarise(logits.clone(), k, temperatures)
    for row, values in enumerate(logits.tolist()):
        order = sorted(range(9), key=lambda entry: -values[entry])
        assert ids[row].tolist() == order[:k]
        assert top[row].tolist() == [values[entry] for entry in order[:k]]
        for column, temperature in enumerate(temperatures):
            mass = sum(np.exp(values[entry] / temperature) for entry in order[k:])
            wanted = np.log(mass) if order[k:] else -np.inf
            np.testing.assert_allclose(tail[row, column].item(), wanted, rtol=1e-12)


# Interruption


class Interrupted(BaseException):
    """What Ctrl-C raises, as far as the dump can tell."""


def stop_after(monkeypatch, shards, then):
    """Let ``then`` happen in place of the shard after so many."""
    whole, calls = Dumper.shard, []

    def shard(self, *arguments):
        calls.append(arguments)
        if len(calls) > shards:
            then()
        return whole(self, *arguments)

    monkeypatch.setattr(Dumper, "shard", shard)
    return calls


def interrupt():
    raise Interrupted


@pytest.mark.parametrize("shards", [0, 1, 5])
def test_an_interrupted_dump_ends_as_if_it_had_not_been(road, tmp_path, monkeypatch, shards):
    assert dump(road, tmp_path / "whole", *small()) == 0
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        stop_after(patched, shards, interrupt)
        dump(road, tmp_path / "store", *small())
    with pytest.raises(UserError, match="unfinished"):
        SoftTargetStore.open(tmp_path / "store")
    with monkeypatch.context() as patched:
        calls = stop_after(patched, 100, interrupt)
        assert dump(road, tmp_path / "store", *small()) == 0
        assert len(calls) == 6 - shards  # what was there is not computed again
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_a_finished_dump_is_left_alone(road, tmp_path, monkeypatch):
    assert dump(road, tmp_path / "store", *small()) == 0
    before = contents(tmp_path / "store")
    monkeypatch.setattr(cmlm_kd.dump, "Dumper", None)
    assert dump(road, tmp_path / "store", *small()) == 0
    assert contents(tmp_path / "store") == before


def test_a_finished_dump_is_mended(road, tmp_path, monkeypatch, caplog):
    assert dump(road, tmp_path / "store", *small()) == 0
    before = contents(tmp_path / "store")
    flipped, deleted, *_ = sorted((tmp_path / "store").glob("*.arrow"))
    flipped.write_bytes(before[flipped.name][:-200] + bytes(200))
    deleted.unlink()
    calls = stop_after(monkeypatch, 100, interrupt)
    assert dump(road, tmp_path / "store", *small()) == 0
    assert len(calls) == 2 and contents(tmp_path / "store") == before
    assert f"{flipped} is damaged" in caplog.text and f"{deleted} is missing" in caplog.text


def test_a_full_disk_costs_nothing_that_was_written(road, tmp_path, monkeypatch, capsys):
    assert dump(road, tmp_path / "whole", *small()) == 0
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with monkeypatch.context() as patched:
            stop_after(patched, 2, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1])))
            assert dump(road, tmp_path / "store", *small()) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("cmlm-kd dump: store: no space left") and "free space and run" in message
    assert len(list((tmp_path / "store").glob("*.arrow"))) == 2
    assert dump(road, tmp_path / "store", *small()) == 0
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("flags", "teacher", "named"),
    [
        (small("--topk", 2), "teacher1", "has k 3, this dump has 2"),
        (small(), "teacher2", "has teacher_hash"),
        (small("--stride", 5), "teacher1", "has settings.stride 7, this dump has 5"),
        (small("--tail-temperatures", 2), "teacher1", "tail_temperatures [1.0, 10.0], this dump has [2.0]"),
        (small("--bf16-autocast"), "teacher1", "settings.precision float32"),
    ],
)
def test_another_dump_does_not_go_on_with_it(road, tmp_path, monkeypatch, capsys, flags, teacher, named):
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        stop_after(patched, 1, interrupt)
        dump(road, tmp_path / "store", *small())
    before = contents(tmp_path / "store")
    assert dump(road, tmp_path / "store", *flags, teacher=teacher) == 2
    assert named in capsys.readouterr().err
    assert contents(tmp_path / "store") == before


# What is refused


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--topk", 0), "--topk is 0"),
        (("--topk", 10_000), "--topk is 10000, the target dictionary has"),
        (("--tail-temperatures", 1, 0), "--tail-temperatures has 0.0"),
        (("--tail-temperatures", -2), "--tail-temperatures has -2.0"),
        (("--tail-temperatures", "nan"), "--tail-temperatures has nan"),
        (("--stride", 0), "--stride is 0"),
        (("--max-tokens", 0), "--max-tokens is 0"),
        (("--shard-rows", -1), "--shard-rows is -1"),
        (("--device", "gpu"), "--device is 'gpu'"),
        (("--split", "test"), "test.de-en.de.idx is missing"),
    ],
)
def test_bad_options_are_named_and_nothing_is_written(road, tmp_path, capsys, flags, named):
    assert dump(road, tmp_path / "store", *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("cmlm-kd dump: ") and named in error and len(error.splitlines()) == 1
    assert not (tmp_path / "store").exists()


def test_a_folder_in_use_is_left_alone(road, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert dump(road, tmp_path) == 2
    assert "isn't empty" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_teacher_of_other_data_is_refused(road, tmp_path, capsys):
    shutil.copytree(road / "data", tmp_path / "data")
    dictionary = tmp_path / "data" / "dict.en.txt"
    lines = dictionary.read_text().splitlines()
    dictionary.write_text("\n".join([lines[1], lines[0], *lines[2:]]) + "\n")
    arguments = [tmp_path / "data", "--teacher", road / "teacher1", "--output", tmp_path / "store"]
    assert main(["dump", *map(str, arguments)]) == 2
    assert "was fine-tuned for dictionary" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_sides_of_different_lengths_are_refused(road, tmp_path, capsys):
    shutil.copytree(road / "data", tmp_path / "data")
    short = tmp_path / "short"
    short.mkdir()
    for language in ("de", "en"):
        lines = (road / f"train.{language}").read_text().splitlines()
        (short / f"train.{language}").write_text("\n".join(lines[:-1]) + "\n")
    arguments = ["-s", "de", "-t", "en", "--trainpref", short / "train", "--teacher", road / "bert"]
    assert main(["prepare", *map(str, arguments), "--destdir", str(short / "data")]) == 0
    for suffix in ("bin", "idx"):
        shutil.copy(short / "data" / f"train.de-en.de.{suffix}", tmp_path / "data")
    arguments = [tmp_path / "data", "--teacher", road / "teacher1", "--output", tmp_path / "store"]
    assert main(["dump", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert f"{ROWS - 1} sources but {ROWS} targets; write the data again with 'cmlm-kd prepare'" in error
    assert not (tmp_path / "store").exists()


def test_a_teacher_that_has_diverged_is_refused(road, tmp_path, capsys):
    teacher = load_teacher(road / "teacher1", road / "data")
    nn.init.constant_(teacher.projection.bias, float("nan"))
    save_teacher(teacher, road / "data", tmp_path / "teacher")
    assert dump(road, tmp_path / "store", teacher=tmp_path / "teacher") == 2
    assert "diverged; take an earlier checkpoint, or train again with a lower --lr" in capsys.readouterr().err
    with pytest.raises(UserError, match="unfinished"):
        SoftTargetStore.open(tmp_path / "store")


# A real teacher


@pytest.mark.real
def test_a_real_encoder_on_real_text(shared_dir, tmp_path):
    for language in ("de", "en"):
        with gzip.open(
            shared_dir / "data" / "multi30k" / f"val.{language}.gz", "rt", encoding="utf-8"
        ) as lines:
            (tmp_path / f"train.{language}").write_text(
                "".join(next(lines) for _ in range(6)), encoding="utf-8"
            )
    encoder = shared_dir / "models" / "multilingual-e5-small-ende"
    arguments = ["-s", "de", "-t", "en", "--trainpref", tmp_path / "train", "--teacher", encoder]
    data = tmp_path / "data"
    assert main(["prepare", *map(str, arguments), "--destdir", str(data)]) == 0
    assert json.loads((data / "prepare.json").read_text())["tokenizer"]["separators"] == 2
    teacher = ConditionalMaskedLM.from_pretrained(str(encoder), Vocabulary.load(data, "en").teacher_ids)
    save_teacher(teacher, data, tmp_path / "teacher")
    arguments = ["--teacher", tmp_path / "teacher", "--output", tmp_path / "store", "--topk", 8]
    assert main(["dump", str(data), *map(str, arguments)]) == 0
    verify_store(tmp_path / "store", Corpus.of_databin(data, "train", "de", "en"))
    store, pair_format = SoftTargetStore.open(tmp_path / "store"), PairFormat.of_databin(data)
    source, target = (Databin.open(data / f"train.de-en.{language}") for language in ("de", "en"))
    logits = naive_logits(teacher.eval(), pair_format, source[2], target[2])
    np.testing.assert_allclose(store[2].logits, logits.topk(8).values.numpy(), rtol=2**-9)
    assert AutoConfig.from_pretrained(tmp_path / "teacher").num_hidden_layers == 12
