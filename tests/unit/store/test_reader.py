"""Soft targets on disk: what is read back, alone and in batches."""

import json
import pickle

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_store import (
    LENGTHS,
    TEMPERATURES,
    K,
    make_header,
    make_rows,
    write_store,
)

from cmlm_kd.api.needs import Request
from cmlm_kd.api.sources import TeacherBatch
from cmlm_kd.errors import UserError
from cmlm_kd.store import (
    ConcatenatedStores,
    Corpus,
    Part,
    SoftTargetStore,
    StoreWriter,
)
from cmlm_kd.system.environment import describe_environment

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


def collate(store, rows, target_lengths, pad_to, *, left_pad=False, k=None):
    """Return the soft targets beside targets of the given lengths, padded to ``pad_to``."""
    lengths, columns = torch.as_tensor(target_lengths)[:, None], torch.arange(pad_to)
    tokens = columns >= pad_to - lengths if left_pad else columns < lengths
    batch = TeacherBatch(torch.as_tensor(rows), target=tokens.long(), padding_idx=0)
    return store.signal(batch, Request(topk=k)).soft_targets


@pytest.mark.parametrize("left_pad", [False, True])
def test_collate_puts_rows_beside_their_tokens(store_path, left_pad):
    store = SoftTargetStore.open(store_path)
    indices, pad_to = [9, 2, 0, 5, 3], 12
    target_lengths = [6, 5, 4, 9, 7]  # sentence 2 has no teacher row
    batch = collate(store, indices, target_lengths, pad_to, left_pad=left_pad)
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
    whole, part = collate(store, [5], [9], 9), collate(store, [5], [9], 9, k=1)
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
        collate(store, [0, 3], [4, 6], 7)
    with pytest.raises(UserError, match=r"top 4 asked for.* 3 entries per token"):
        collate(store, [0], [4], 4, k=4)


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
        batch = collate(stores, [5, rows + 5, 2 * rows + 1, 2 * rows + 5 + 5], [9, 9, 2, 9], 9)
        assert batch.valid.sum(1).tolist() == [9, 9, 0, 9]
        expected = torch.from_numpy(make_rows(make_header(), 5, LENGTHS[5:6]).ids)
        assert all(torch.equal(batch.ids[row], expected) for row in (0, 1, 3))


def test_concatenated_stores_need_a_store():
    with pytest.raises(UserError, match="none of the training sets has soft targets"):
        ConcatenatedStores([Part(None, 5)])


def test_signature_names_the_contents(tmp_path, store_path):
    signature = SoftTargetStore.open(store_path).signature
    assert len(signature) == 6
    assert SoftTargetStore.open(write_store(tmp_path / "same")).signature == signature
    assert SoftTargetStore.open(write_store(tmp_path / "other", teacher_hash="f" * 64)).signature != signature


def test_environment_is_json(tmp_path):
    environment = describe_environment()
    assert json.loads(json.dumps(environment)) == environment
    assert environment["torch"] == torch.__version__ and environment["threads"] == torch.get_num_threads()


def test_rows_of_another_length_are_counted_over_all_shards(tmp_path, store_path):
    store = SoftTargetStore.open(store_path)
    lengths = np.array(LENGTHS)
    store.check(Corpus("c" * 64, "d" * 64, np.where(lengths == 0, 5, lengths)))  # has no teacher row: fits
    lengths[[3, 8, 10]] += 1
    with pytest.raises(
        UserError, match=r"3 of 11 target sentences .* \(first: number 3, 8 tokens, .* has 7\)"
    ):
        store.check(Corpus("c" * 64, "d" * 64, lengths))
