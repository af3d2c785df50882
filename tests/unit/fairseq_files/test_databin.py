"""fairseq's binarised data, against fairseq's own reader and writer."""

import hashlib

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset, make_builder

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import (
    Databin,
    check_ids,
    corpus_hash,
    dictionary_hash,
    read_dictionary,
    read_symbols,
    write_databin,
    write_flat_databin,
)

SIZES = (8, 65_499, 65_500, 120_000)


def make_sentences(vocabulary_size, rows=20):
    generator = np.random.default_rng(vocabulary_size)
    sentences = [generator.integers(0, vocabulary_size, generator.integers(1, 9)) for _ in range(rows)]
    sentences[0][0] = vocabulary_size - 1
    return sentences


def write_with_fairseq(prefix, sentences, vocabulary_size):
    builder = make_builder(f"{prefix}.bin", impl="mmap", vocab_size=vocabulary_size)
    for sentence in sentences:
        builder.add_item(torch.from_numpy(sentence))
    builder.finalize(f"{prefix}.idx")


@pytest.mark.parametrize("vocabulary_size", SIZES)
def test_files_are_those_of_fairseqs_writer(tmp_path, vocabulary_size):
    sentences = make_sentences(vocabulary_size)
    write_with_fairseq(tmp_path / "theirs", sentences, vocabulary_size)
    write_databin(tmp_path / "ours", iter(sentences), vocabulary_size)
    sizes = np.array([len(sentence) for sentence in sentences])
    blocks = [np.concatenate(sentences[:2]), *sentences[2:]]
    write_flat_databin(tmp_path / "flat", blocks, [sizes[:3], sizes[3:]], len(sizes), vocabulary_size)
    for suffix in (".bin", ".idx"):
        theirs = (tmp_path / f"theirs{suffix}").read_bytes()
        assert (tmp_path / f"ours{suffix}").read_bytes() == theirs
        assert (tmp_path / f"flat{suffix}").read_bytes() == theirs


@pytest.mark.parametrize("vocabulary_size", SIZES)
def test_both_readers_read_what_was_written(tmp_path, vocabulary_size):
    sentences = make_sentences(vocabulary_size)
    write_databin(tmp_path / "data", sentences, vocabulary_size)
    theirs, ours = MMapIndexedDataset(str(tmp_path / "data")), Databin.open(tmp_path / "data")
    assert len(theirs) == len(ours) == len(sentences)
    for row, sentence in enumerate(sentences):
        assert theirs[row].tolist() == ours[row].tolist() == sentence.tolist()
    assert ours.sizes.tolist() == list(theirs.sizes) == [len(sentence) for sentence in sentences]
    assert [row.tolist() for row in ours] == [sentence.tolist() for sentence in sentences]


@pytest.mark.parametrize("at_once", [1, 7, 1 << 16])
def test_files_are_read_and_written_in_blocks_that_do_not_show(tmp_path, monkeypatch, at_once):
    """Blocks keep the memory of a corpus of millions of sentences flat."""
    sentences = make_sentences(70_000)
    write_databin(tmp_path / "whole", sentences, 70_000)
    monkeypatch.setattr("cmlm_kd.fairseq_files.databin._AT_ONCE", at_once)
    write_databin(tmp_path / "blocks", sentences, 70_000)
    for suffix in (".bin", ".idx"):
        assert (tmp_path / f"blocks{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    data = Databin.open(tmp_path / "blocks")
    sizes = np.array([len(sentence) for sentence in sentences], np.int32)
    expected = hashlib.sha256(sizes.tobytes() + np.concatenate(sentences).astype(np.uint32).tobytes())
    assert data.content_hash() == expected.hexdigest()


def test_where_sentences_are_is_read_from_the_file_or_summed(tmp_path):
    sentences = make_sentences(100)
    write_databin(tmp_path / "data", sentences, 100)
    mapped = Databin.open(tmp_path / "data")
    summed = Databin(mapped.prefix, mapped.sizes, mapped.tokens)
    for first, rows in ((0, 20), (3, 4), (19, 1), (5, 0), (20, 0)):
        found = mapped.tokens[mapped.span(first, rows)].tolist()
        assert found == [token for sentence in sentences[first : first + rows] for token in sentence]
        assert found == summed.tokens[summed.span(first, rows)].tolist()
    assert mapped[-1].tolist() == summed[-1].tolist() == sentences[-1].tolist()
    assert "offsets" not in vars(mapped)  # eight bytes a sentence that nothing needs


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_other_widths_of_fairseq_are_read(tmp_path, dtype):
    from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

    builder = MMapIndexedDatasetBuilder(str(tmp_path / "data.bin"), dtype)
    builder.add_item(torch.tensor([4, 5, 2]))
    builder.finalize(str(tmp_path / "data.idx"))
    assert Databin.open(tmp_path / "data")[0].tolist() == [4, 5, 2]


def test_no_sentence_at_all(tmp_path):
    write_databin(tmp_path / "data", [], 10)
    assert len(Databin.open(tmp_path / "data")) == 0
    assert len(Databin.open(tmp_path / "data").tokens) == 0


def test_hashes_depend_on_ids_and_boundaries(tmp_path):
    def hash_of(name, sentences):
        write_databin(tmp_path / name, [np.array(sentence) for sentence in sentences], 100)
        return Databin.open(tmp_path / name).content_hash()

    first = hash_of("a", [[4, 5], [6]])
    assert first == hash_of("b", [[4, 5], [6]])
    assert (
        len({first, hash_of("c", [[4], [5, 6]]), hash_of("d", [[4, 5], [7]]), hash_of("e", [[6], [4, 5]])})
        == 4
    )
    a, c = (Databin.open(tmp_path / name) for name in "ac")
    assert corpus_hash(a, c) != corpus_hash(c, a)


def damage(path, how):
    raw = path.read_bytes()
    path.write_bytes({"cut": raw[:-3], "magic": b"X" + raw[1:], "dtype": raw[:17] + b"\x63" + raw[18:]}[how])


@pytest.mark.parametrize(
    ("suffix", "how", "message"),
    [
        (".idx", "magic", "is not a fairseq mmap index; binarise with --dataset-impl mmap"),
        (".idx", "cut", "is damaged .*20 rows.*; binarise again"),
        (".idx", "dtype", "is damaged .*dtype 99.*; binarise again"),
        (".bin", "cut", r"data.bin has \d+ bytes, its index wants \d+"),
    ],
)
def test_damaged_files_are_refused(tmp_path, suffix, how, message):
    write_databin(tmp_path / "data", make_sentences(100), 100)
    damage(tmp_path / f"data{suffix}", how)
    with pytest.raises(UserError, match=message):
        Databin.open(tmp_path / "data")


@pytest.mark.parametrize("suffix", [".idx", ".bin"])
def test_missing_files_are_named(tmp_path, suffix):
    write_databin(tmp_path / "data", make_sentences(100), 100)
    (tmp_path / f"data{suffix}").unlink()
    with pytest.raises(UserError, match=f"data{suffix} is missing; write the data with 'cmlm-kd prepare'"):
        Databin.open(tmp_path / "data")


# Dictionaries

ENTRIES = [("▁a", 5), ("#", 3), ("é", 2), ("<0xE2>", 1), ("madeupword0000", 0)]


def write_dictionary(path, entries=ENTRIES):
    path.write_text("".join(f"{symbol} {count}\n" for symbol, count in entries), encoding="utf-8")
    return path


def test_dictionaries_are_read_as_fairseq_reads_them(tmp_path):
    path = write_dictionary(tmp_path / "dict.en.txt")
    theirs = Dictionary.load(str(path))
    assert read_dictionary(path) == ENTRIES == list(zip(theirs.symbols[4:], theirs.count[4:], strict=True))
    with path.open("a") as stream:
        stream.write("▁a 7 #fairseq:overwrite\n")
    assert read_symbols(path) == Dictionary.load(str(path)).symbols[4:]


def test_dictionary_hash_depends_on_symbols_and_order_alone(tmp_path):
    first = dictionary_hash(write_dictionary(tmp_path / "a"))
    assert first == dictionary_hash(write_dictionary(tmp_path / "b", [(symbol, 1) for symbol, _ in ENTRIES]))
    assert first != dictionary_hash(write_dictionary(tmp_path / "c", ENTRIES[::-1]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "dict.en.txt is missing; write the data with 'cmlm-kd prepare'"),
        (b"\xff\xfe1 1\n", r"dict.en.txt is not UTF-8 \(byte 0\)"),
        (b"a 1\nb\n", "dict.en.txt, line 2: 'b' is not a symbol and its count"),
        (b"a 1\nb x\n", "line 2: 'b x' is not a symbol and its count; write the data again"),
    ],
)
def test_damaged_dictionaries_are_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "dict.en.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_symbols(tmp_path / "dict.en.txt")


@pytest.mark.parametrize(("ids", "wrong"), [([4, 9], 9), ([4, -1], -1), ([4, 7], None)])
def test_ids_are_compared_with_the_dictionary(ids, wrong):
    if wrong is None:
        check_ids("train.de", 3, np.array(ids, np.int32), 8)
        check_ids("train.de", 3, np.array([], np.int32), 8)
        return
    with pytest.raises(
        UserError, match=rf"train.de.bin is damaged \(sentence 3 has id {wrong}, its dictionary 8"
    ):
        check_ids("train.de", 3, np.array(ids, np.int32), 8)


def test_a_pointer_that_is_wrong_is_found_in_any_block(tmp_path, monkeypatch):
    monkeypatch.setattr("cmlm_kd.fairseq_files.databin._AT_ONCE", 3)
    write_databin(tmp_path / "data", make_sentences(100), 100)
    path = tmp_path / "data.idx"
    raw = bytearray(path.read_bytes())
    raw[-8] ^= 1  # of the last of 20 sentences
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"data\.idx is damaged \(sentence 19 begins at byte \d+, where"):
        Databin.open(tmp_path / "data")
