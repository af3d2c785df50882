"""Damaged stores, stores of other data, and what verification finds."""

import os

import numpy as np
import pytest
from tiny_store import LENGTHS, VOCABULARY, flip_bit, make_header, make_rows

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin, write_databin
from cmlm_kd.store import (
    Corpus,
    SoftTargetStore,
    StoreWriter,
    reference_accuracy,
    verify_store,
)

# Damage and mismatch


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


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[" * 100_000, '{"format": "cmlm-kd-soft-targets", "version": 1}']
)
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
