"""The dump: every target position predicted once, by the masks of the paper, and nothing lost."""

import gzip
import json

import numpy as np
import pytest
import torch
from tiny_dump import ROWS, TOO_LONG, dump, small, write_road
from transformers import AutoConfig

from cmlm_kd.cli import main
from cmlm_kd.data.masking.positions import cover_mask, cover_passes
from cmlm_kd.data.translation.pairs import PairFormat, frame_pairs
from cmlm_kd.data.translation.vocabulary import Vocabulary
from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.models.cmlm import ConditionalMaskedLM
from cmlm_kd.models.cmlm_loading import load_teacher, save_teacher
from cmlm_kd.store import Corpus, SoftTargetStore, verify_store
from cmlm_kd.store.manifest import ShardPlan
from cmlm_kd.teachers.cover_masks import Dumper
from cmlm_kd.teachers.shards import DumpOptions, summarise


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    return write_road(tmp_path_factory.mktemp("road"))


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
