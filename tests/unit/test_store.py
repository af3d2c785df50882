"""The store: what is written is read, an interruption costs one shard, and nothing wrong passes unseen."""

import errno
import json
import logging
import os
import pickle
import shutil
from dataclasses import replace

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch

from cmlm_kd.databin import Databin, write_databin
from cmlm_kd.errors import UserError
from cmlm_kd.store import (
    ConcatenatedStores,
    Corpus,
    Part,
    ShardRows,
    SoftTargetStore,
    StoreHeader,
    StoreWriter,
    describe_environment,
    reference_accuracy,
    verify_store,
)
from cmlm_kd.store import writer as writer_module

K = 3
TEMPERATURES = (1.0, 4.0)
VOCABULARY = 50
LENGTHS = np.array([4, 1, 0, 7, 2, 9, 0, 3, 5, 6, 8])  # two sentences have no teacher row


def make_header(**changes):
    values = {
        "rows": len(LENGTHS),
        "k": K,
        "tail_temperatures": TEMPERATURES,
        "vocabulary_size": VOCABULARY,
        "dictionary_hash": "d" * 64,
        "corpus_hash": "c" * 64,
        "teacher_hash": "e" * 64,
        "shard_rows": 4,
        "settings": {"stride": 7, "precision": "float32"},
        "environment": {"threads": 1},
    }
    return StoreHeader(**{**values, **changes})


def make_rows(header, first_row, lengths):
    """Random but reproducible rows, each a function of its place in the corpus alone."""
    ids, logits, tail = [], [], []
    for row, length in enumerate(lengths, start=first_row):
        generator = np.random.default_rng(row)
        for _ in range(length):
            ids.append(generator.choice(header.vocabulary_size, header.k, replace=False))
            logits.append(np.sort(generator.normal(0, 5, header.k))[::-1])
            tail.append(generator.normal(0, 2, len(header.tail_temperatures)))
    tokens = int(lengths.sum())
    return ShardRows(
        lengths,
        np.array(ids, dtype=np.int64).reshape(tokens, header.k),
        np.array(logits, dtype=np.float16).reshape(tokens, header.k),
        np.array(tail, dtype=np.float16).reshape(tokens, len(header.tail_temperatures)),
    )


def write_pending(writer, limit=None):
    for plan in writer.pending_shards()[:limit]:
        lengths = LENGTHS[plan.first_row : plan.first_row + plan.rows]
        writer.write_shard(plan, make_rows(writer.header, plan.first_row, lengths))


def write_store(path, **changes):
    with StoreWriter.create_or_resume(path, make_header(**changes)) as writer:
        write_pending(writer)
        writer.finish()
    return path


def contents(path):
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


@pytest.fixture
def store_path(tmp_path):
    return write_store(tmp_path / "store")


# Reading back


def test_every_sentence_comes_back(store_path):
    store = SoftTargetStore.open(store_path)
    assert len(store) == len(LENGTHS) and store.k == K and store.tail_temperatures == TEMPERATURES
    assert store.lengths.tolist() == LENGTHS.tolist()
    for row, length in enumerate(LENGTHS):
        expected = make_rows(make_header(), row, LENGTHS[row : row + 1])
        found = store[row]
        if length == 0:
            assert found is None
            continue
        assert found.ids.dtype == np.uint16 and found.ids.tolist() == expected.ids.tolist()
        np.testing.assert_array_equal(found.logits, expected.logits)
        np.testing.assert_array_equal(found.tail, expected.tail)
    assert store[-1].ids.shape == (8, K)
    with pytest.raises(IndexError):
        store[len(LENGTHS)]


def test_views_are_not_copies(store_path):
    store = SoftTargetStore.open(store_path)
    assert not store[0].logits.flags.owndata and not store[0].logits.flags.writeable
    assert np.shares_memory(store[0].logits, store.shards[0].logits)


def test_manifest_counts(store_path):
    manifest = json.loads((store_path / "manifest.json").read_text())
    assert manifest["rows"] == 11 and manifest["tokens"] == 45 and manifest["rows_without_teacher"] == 2
    assert [shard["rows"] for shard in manifest["shards"]] == [4, 4, 3]
    assert manifest["settings"] == {"stride": 7, "precision": "float32"}
    assert not (store_path / "manifest.partial.json").exists()


@pytest.mark.parametrize(("vocabulary", "dtype"), [(1 << 16, np.uint16), ((1 << 16) + 1, np.uint32)])
def test_ids_take_the_narrowest_type(tmp_path, vocabulary, dtype):
    store = SoftTargetStore.open(write_store(tmp_path / "store", vocabulary_size=vocabulary))
    assert store[0].ids.dtype == dtype
    assert store[0].ids.tolist() == make_rows(store.manifest.header, 0, LENGTHS[:1]).ids.tolist()


def test_datasets_and_pyarrow_read_a_shard(store_path):
    shard = store_path / "shard-00000-of-00003.arrow"
    dataset = datasets.Dataset.from_file(str(shard))
    expected = make_rows(make_header(), 0, LENGTHS[:1])
    assert dataset[0]["ids"] == expected.ids.tolist()
    assert dataset[0]["logits"] == expected.logits.tolist()
    assert dataset[2]["ids"] is None
    with pa.ipc.open_stream(pa.memory_map(str(shard))) as stream:
        assert stream.read_all()["tail"][0].as_py() == expected.tail.tolist()


def test_size_is_at_most_38_bytes_a_token(tmp_path):
    header = make_header(rows=500, k=8, vocabulary_size=60_000, shard_rows=500)
    lengths = np.random.default_rng(0).integers(5, 30, 500)
    with StoreWriter.create_or_resume(tmp_path / "store", header) as writer:
        record = writer.write_shard(writer.pending_shards()[0], make_rows(header, 0, lengths))
    assert record.size / record.tokens < 38


# Batches


@pytest.mark.parametrize("left_pad", [False, True])
def test_collate_puts_rows_beside_their_tokens(store_path, left_pad):
    store = SoftTargetStore.open(store_path)
    indices, pad_to = [9, 2, 0, 5, 3], 12
    target_lengths = [6, 5, 4, 9, 7]  # sentence 2 has no teacher row
    batch = store.collate(torch.tensor(indices), torch.tensor(target_lengths), pad_to, left_pad=left_pad)
    assert batch.ids.dtype == torch.int64 and batch.logits.dtype == batch.tail.dtype == torch.float16
    assert batch.tail_temperatures == TEMPERATURES
    for row, (index, length) in enumerate(zip(indices, target_lengths, strict=True)):
        start = pad_to - length if left_pad else 0
        inside = torch.zeros(pad_to, dtype=torch.bool)
        inside[start : start + length] = index != 2
        assert torch.equal(batch.valid[row], inside)
        assert not batch.ids[row][~inside].any() and not batch.logits[row][~inside].any()
        if index != 2:
            expected = make_rows(make_header(), index, LENGTHS[index : index + 1])
            np.testing.assert_array_equal(batch.ids[row][inside].numpy(), expected.ids)
            np.testing.assert_array_equal(batch.logits[row][inside].numpy(), expected.logits)
            np.testing.assert_array_equal(batch.tail[row][inside].numpy(), expected.tail)


def test_fewer_entries_move_the_rest_into_the_tail(store_path):
    store = SoftTargetStore.open(store_path)
    whole, part = store.collate([5], [9], 9), store.collate([5], [9], 9, k=1)
    assert torch.equal(part.ids, whole.ids[..., :1]) and torch.equal(part.logits, whole.logits[..., :1])
    for column, temperature in enumerate(TEMPERATURES):
        outside = torch.cat(
            [whole.logits[..., 1:].double() / temperature, whole.tail[..., column, None].double()], -1
        )
        expected = outside.logsumexp(-1)
        torch.testing.assert_close(part.tail[..., column].double(), expected, atol=1e-2, rtol=1e-3)


def test_collate_refuses_other_lengths_and_more_entries(store_path):
    store = SoftTargetStore.open(store_path)
    with pytest.raises(UserError, match=r"number 1, 6 tokens, its row has 7"):
        store.collate([0, 3], [4, 6], 7)
    with pytest.raises(UserError, match=r"top 4 asked for.* 3 entries a token"):
        store.collate([0], [4], 4, k=4)


def test_pickle_carries_the_path_alone(store_path):
    store = SoftTargetStore.open(store_path)
    message = pickle.dumps(store)
    assert len(message) < 1000
    np.testing.assert_array_equal(pickle.loads(message)[5].logits, store[5].logits)


def test_concatenated_stores_are_pickled_by_their_paths(tmp_path, store_path):
    other = SoftTargetStore.open(write_store(tmp_path / "other", shard_rows=3))
    rows = len(LENGTHS)
    parts = [Part(SoftTargetStore.open(store_path), rows, repeats=2), Part(None, 5), Part(other, rows)]
    whole = ConcatenatedStores(parts)
    assert len(whole) == 3 * rows + 5 and whole.rows_without_teacher == 2 * 2 + 5 + 2
    message = pickle.dumps(whole)
    assert len(message) < 2000
    for stores in (whole, pickle.loads(message)):
        batch = stores.collate([5, rows + 5, 2 * rows + 1, 2 * rows + 5 + 5], [9, 9, 2, 9], 9)
        assert batch.valid.sum(1).tolist() == [9, 9, 0, 9]
        expected = torch.from_numpy(make_rows(make_header(), 5, LENGTHS[5:6]).ids)
        assert all(torch.equal(batch.ids[row], expected) for row in (0, 1, 3))


def test_concatenated_stores_need_a_store():
    with pytest.raises(UserError, match="none of the training sets has soft targets"):
        ConcatenatedStores([Part(None, 5)])


# Interruption


def test_resumed_store_is_byte_identical(tmp_path, store_path):
    path = tmp_path / "resumed"
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        write_pending(writer, limit=1)
    (path / "shard-00001-of-00003.arrow.tmp").write_bytes(b"half a shard")  # what a killed process leaves
    with pytest.raises(UserError, match="unfinished; run the same 'cmlm-kd dump' again"):
        SoftTargetStore.open(path)
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        assert [plan.index for plan in writer.pending_shards()] == [1, 2]
        write_pending(writer)
        writer.finish()
    assert contents(path) == contents(store_path)


def test_shard_without_its_note_in_the_manifest_is_written_again(tmp_path, store_path):
    path = tmp_path / "resumed"
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        write_pending(writer, limit=1)
    shutil.copy(store_path / "shard-00001-of-00003.arrow", path)  # renamed, but killed before it was noted
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        assert [plan.index for plan in writer.pending_shards()] == [1, 2]
        write_pending(writer)
        writer.finish()
    assert contents(path) == contents(store_path)


def test_damaged_shard_of_an_unfinished_store_is_written_again(tmp_path, store_path, caplog):
    path = tmp_path / "resumed"
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        write_pending(writer, limit=2)
    flip_bit(path / "shard-00000-of-00003.arrow", -200)
    with caplog.at_level(logging.WARNING), StoreWriter.create_or_resume(path, make_header()) as writer:
        assert [plan.index for plan in writer.pending_shards()] == [0, 2]
        write_pending(writer)
        writer.finish()
    assert "is damaged and will be written again" in caplog.text
    assert contents(path) == contents(store_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("k", 2),
        ("corpus_hash", "f" * 64),
        ("shard_rows", 5),
        ("rows", 10),
        ("settings", {"stride": 9, "precision": "float32"}),
    ],
)
@pytest.mark.parametrize("finished", [False, True])
def test_resume_with_another_header_is_refused(tmp_path, field, value, finished):
    path = tmp_path / "store"
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        write_pending(writer, limit=None if finished else 1)
        if finished:
            writer.finish()
    before = contents(path)
    name = "settings.stride" if field == "settings" else field
    old, new = make_header().identity()[name], make_header(**{field: value}).identity()[name]
    with pytest.raises(UserError, match=rf"has {name} {old}, this dump has {new}"):
        StoreWriter.create_or_resume(path, make_header(**{field: value}))
    assert contents(path) == before


def test_another_environment_is_noted_and_warned_of(tmp_path, caplog):
    path = tmp_path / "store"
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        write_pending(writer, limit=1)
    with (
        caplog.at_level(logging.WARNING),
        StoreWriter.create_or_resume(path, make_header(environment={"threads": 2})) as writer,
    ):
        write_pending(writer)
        manifest = writer.finish()
    assert "threads 1 -> 2" in caplog.text
    assert manifest.environments == ({"threads": 1}, {"threads": 2})


def test_complete_store_is_left_alone(store_path):
    before = contents(store_path)
    with StoreWriter.create_or_resume(store_path, make_header()) as writer:
        assert writer.complete and writer.pending_shards() == []
        assert writer.finish().tokens == 45
    assert contents(store_path) == before


@pytest.mark.parametrize("damage", ["flipped bit", "missing", "truncated"])
def test_damaged_shard_of_a_complete_store_is_written_again(tmp_path, store_path, caplog, damage):
    before, shard = contents(store_path), store_path / "shard-00001-of-00003.arrow"
    if damage == "flipped bit":
        flip_bit(shard, -200)
    elif damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(before[shard.name][:-8])
    with caplog.at_level(logging.WARNING), StoreWriter.create_or_resume(store_path, make_header()) as writer:
        assert [plan.index for plan in writer.pending_shards()] == [1] and not writer.complete
        with pytest.raises(UserError, match="unfinished"):
            SoftTargetStore.open(store_path)
        write_pending(writer)
        writer.finish()
    state = "missing" if damage == "missing" else "damaged"
    assert f"{shard} is {state} and will be written again" in caplog.text
    assert contents(store_path) == before


def test_two_writers_exclude_each_other(tmp_path):
    first = StoreWriter.create_or_resume(tmp_path / "store", make_header())
    with pytest.raises(UserError, match="another process is writing"):
        StoreWriter.create_or_resume(tmp_path / "store", make_header())
    first.close()
    StoreWriter.create_or_resume(tmp_path / "store", make_header()).close()


def test_foreign_directory_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="isn't empty and holds no store"):
        StoreWriter.create_or_resume(tmp_path, make_header())
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


def test_path_that_is_a_file(tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(UserError, match="can't write"):
        StoreWriter.create_or_resume(tmp_path / "store", make_header())


def test_disk_full_keeps_complete_shards_and_can_be_resumed(tmp_path, store_path, monkeypatch):
    path = tmp_path / "full"
    real_fsync = os.fsync

    def disk_full(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("shard-00001-of-00003.arrow.tmp"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real_fsync(descriptor)

    with StoreWriter.create_or_resume(path, make_header()) as writer:
        monkeypatch.setattr(writer_module.os, "fsync", disk_full)
        with pytest.raises(
            UserError,
            match=r"no space left for .*full: about \d+\.\d kB more needed.*run the same command again",
        ):
            write_pending(writer)
        monkeypatch.undo()
    assert sorted(contents(path)) == ["manifest.partial.json", "shard-00000-of-00003.arrow"]
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        assert [plan.index for plan in writer.pending_shards()] == [1, 2]
        write_pending(writer)
        writer.finish()
    assert contents(path) == contents(store_path)


# What the producer may not write


@pytest.mark.parametrize("name", ["lengths", "ids", "logits", "tail"])
def test_rows_that_do_not_fit_the_plan(tmp_path, name):
    with StoreWriter.create_or_resume(tmp_path / "store", make_header()) as writer:
        plan = writer.pending_shards()[0]
        rows = make_rows(writer.header, 0, LENGTHS[:4])
        with pytest.raises(ValueError, match=name):
            writer.write_shard(plan, replace(rows, **{name: getattr(rows, name)[1:]}))


def test_rows_with_ids_outside_the_vocabulary(tmp_path):
    with StoreWriter.create_or_resume(tmp_path / "store", make_header()) as writer:
        rows = make_rows(writer.header, 0, LENGTHS[:4])
        rows.ids[3, 1] = VOCABULARY
        with pytest.raises(ValueError, match="outside the vocabulary of 50"):
            writer.write_shard(writer.pending_shards()[0], rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k is 0; it must be from 1 to"),
        ({"k": 51}, "k is 51; it must be from 1 to the vocabulary's 50"),
        ({"tail_temperatures": (0.0,)}, "tail temperature 0.0 must be positive"),
        ({"tail_temperatures": ()}, "no tail temperature"),
        ({"rows": 0}, "no sentence"),
        ({"shard_rows": 0}, "0 sentences a shard"),
    ],
)
def test_header_ranges(changes, message):
    with pytest.raises(UserError, match=message):
        make_header(**changes)


# Damage and mismatch


def flip_bit(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_no_store_there(tmp_path):
    with pytest.raises(UserError, match="holds no store"):
        SoftTargetStore.open(tmp_path / "nothing")


def test_missing_shard(store_path):
    (store_path / "shard-00002-of-00003.arrow").unlink()
    with pytest.raises(UserError, match=r"shard-00002-of-00003.arrow is missing"):
        SoftTargetStore.open(store_path)


def test_truncated_shard(store_path):
    shard = store_path / "shard-00001-of-00003.arrow"
    size = shard.stat().st_size
    os.truncate(shard, size - 1)
    with pytest.raises(
        UserError, match=rf"shard-00001-of-00003.arrow has {size - 1} bytes, the manifest says {size}"
    ):
        SoftTargetStore.open(store_path)


def test_every_flipped_bit_is_found(store_path):
    shard = store_path / "shard-00001-of-00003.arrow"
    original = shard.read_bytes()
    for position in range(0, len(original), 97):
        flip_bit(shard, position)
        with pytest.raises(UserError, match=r"shard-00001-of-00003.arrow"):
            verify_store(store_path)
        shard.write_bytes(original)
    verify_store(store_path)


def test_flipped_bit_is_found_at_open_when_asked(store_path):
    flip_bit(store_path / "shard-00001-of-00003.arrow", -200)
    with pytest.raises(UserError, match=r"rows 4 to 7\) has checksum"):
        SoftTargetStore.open(store_path, checksums=True)


def test_swapped_shards(tmp_path):
    path = tmp_path / "store"
    with StoreWriter.create_or_resume(path, make_header(rows=8)) as writer:
        for plan in writer.pending_shards():  # equal lengths, so that the files have equal sizes
            writer.write_shard(plan, make_rows(writer.header, plan.first_row, np.array([2, 3, 1, 4])))
        writer.finish()
    first, second = path / "shard-00000-of-00002.arrow", path / "shard-00001-of-00002.arrow"
    assert first.stat().st_size == second.stat().st_size
    first.rename(path / "x")
    second.rename(first)
    (path / "x").rename(second)
    with pytest.raises(UserError, match="the manifest says otherwise"):
        SoftTargetStore.open(path)


@pytest.mark.parametrize(
    ("old", "new"), [('"version": 1', '"version": 2'), ("cmlm-kd-soft-targets", "other")]
)
def test_other_format(store_path, old, new):
    manifest = store_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace(old, new))
    with pytest.raises(UserError, match=r"this release reads 'cmlm-kd-soft-targets' version 1"):
        SoftTargetStore.open(store_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": "cmlm-kd-soft-targets", "version": 1}'])
def test_damaged_manifest(store_path, text):
    (store_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match="damaged"):
        SoftTargetStore.open(store_path)


def test_check_names_both_values(store_path):
    store = SoftTargetStore.open(store_path)
    lengths = np.where(LENGTHS == 0, 30, LENGTHS)
    store.check(Corpus("c" * 64, "d" * 64, lengths))
    with pytest.raises(UserError, match=r"dictionary dddddddddddd, the data has aaaaaaaaaaaa"):
        store.check(Corpus("c" * 64, "a" * 64, lengths))
    with pytest.raises(UserError, match=r"corpus cccccccccccc, the data has bbbbbbbbbbbb"):
        store.check(Corpus("b" * 64, "d" * 64, lengths))
    with pytest.raises(UserError, match=r"sentences: 11, the data has 12"):
        store.check(Corpus("c" * 64, "d" * 64, np.append(lengths, 1)))


def test_verify_reports_the_row(tmp_path):
    path = tmp_path / "store"
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        for plan in writer.pending_shards():
            rows = make_rows(
                writer.header, plan.first_row, LENGTHS[plan.first_row : plan.first_row + plan.rows]
            )
            if plan.index == 1:
                rows.logits[3] = rows.logits[3][::-1]  # lengths 2, 9, ...: token 3 is token 1 of row 5
            writer.write_shard(plan, rows)
        writer.finish()
    with pytest.raises(
        UserError, match=r"shard-00001-of-00003.arrow, row 5 \(token 1\) has logits that are not sorted"
    ):
        verify_store(path)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("logits", np.inf, "a logit that is not finite"),
        ("tail", np.nan, "a tail that is not a number"),
        ("ids", 7, "an id twice"),
    ],
)
def test_verify_looks_at_every_value(tmp_path, field, value, problem):
    path = tmp_path / "store"
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        for plan in writer.pending_shards():
            rows = make_rows(
                writer.header, plan.first_row, LENGTHS[plan.first_row : plan.first_row + plan.rows]
            )
            getattr(rows, field)[-1] = value
            writer.write_shard(plan, rows)
        writer.finish()
    with pytest.raises(UserError, match=rf"row 3 \(token 6\) has {problem}"):
        verify_store(path)


def test_verify_compares_with_the_corpus(store_path):
    lengths = np.where(LENGTHS == 0, 30, LENGTHS)
    assert verify_store(store_path, Corpus("c" * 64, "d" * 64, lengths)).tokens == 45
    with pytest.raises(UserError, match=r"number 3, 8 tokens, its row has 7"):
        verify_store(store_path, Corpus("c" * 64, "d" * 64, lengths + (np.arange(11) == 3)))
    with pytest.raises(UserError, match=r"sentences: 11, the data has 10"):
        verify_store(store_path, Corpus("c" * 64, "d" * 64, lengths[:10]))


def test_reference_accuracy_counts_as_a_loop_does(tmp_path, store_path):
    store = SoftTargetStore.open(store_path)
    lengths = np.where(LENGTHS == 0, 30, LENGTHS)  # the corpus has the sentences without a teacher row, too
    sentences = [np.full(length, 49) for length in lengths]
    for row, place, entry in [(0, 1, 0), (4, 0, 2), (5, 8, 0), (10, 2, 1)]:
        sentences[row][place] = store[row].ids[place, entry]
    write_databin(tmp_path / "train.src-tgt.tgt", sentences, VOCABULARY)
    best = any_of_k = 0
    for targets, references in zip(store, sentences, strict=True):
        for ids, reference in zip(targets.ids, references, strict=True) if targets else ():
            best += ids[0] == reference
            any_of_k += reference in ids
    assert best >= 2 and any_of_k >= 4
    found = reference_accuracy(store, Databin.open(tmp_path / "train.src-tgt.tgt"))
    assert found == (best / 45, any_of_k / 45)


def test_signature_names_the_contents(tmp_path, store_path):
    signature = SoftTargetStore.open(store_path).signature
    assert len(signature) == 6
    assert SoftTargetStore.open(write_store(tmp_path / "same")).signature == signature
    assert SoftTargetStore.open(write_store(tmp_path / "other", teacher_hash="f" * 64)).signature != signature


def test_environment_is_json(tmp_path):
    environment = describe_environment()
    assert json.loads(json.dumps(environment)) == environment
    assert environment["torch"] == torch.__version__ and environment["threads"] == torch.get_num_threads()
