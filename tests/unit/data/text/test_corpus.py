"""Unlabelled text on disk: sources, tokens, shards, masks; bounded memory."""

import gzip
import itertools
import json
import shutil
import tracemalloc

import numpy as np
import pytest
from datasets import Dataset
from disk import largest_file
from tiny_classification import SPECIAL, make_tokenizer
from tiny_text import lines_of

from cmlm_kd.cli import main
from cmlm_kd.data.masking.batch import Masker, mask_tokens
from cmlm_kd.data.masking.positions import batch_generator
from cmlm_kd.data.text import corpus as corpus_module
from cmlm_kd.data.text import sources, writing
from cmlm_kd.data.text.corpus import TokenizedCorpus, rows_of
from cmlm_kd.data.text.sources import TextFile, find_text
from cmlm_kd.data.text.writing import tokenized_corpus
from cmlm_kd.errors import UserError
from cmlm_kd.tokenization.pieces import PieceTokenizer

LONGEST = 8


@pytest.fixture(scope="module")
def tokenizer():
    return PieceTokenizer(make_tokenizer())


def write(path, lines):
    text = "".join(f"{line}\n" for line in lines)
    if path.suffix == ".gz":
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.write(text)
    else:
        path.write_text(text, encoding="utf-8")
    return path


def texts(files):
    return [line for file in files for line in file.lines()]


def save_dataset(folder, lines, **columns):
    from datasets import Dataset, DatasetDict

    table = Dataset.from_dict({"text": lines, **columns})
    DatasetDict({"train": table, "validation": table.select(range(1))}).save_to_disk(str(folder))


# Sources


def test_files_patterns_and_gzipped_files(tmp_path):
    for name, line in (("a-2.txt", "two"), ("a-1.txt.gz", "one"), ("b.txt.gz", "b")):
        write(tmp_path / name, [line])
    assert texts(find_text(tmp_path, "a-*, b.txt", "train")) == ["one", "two", "b"]


def test_saved_datasets_alone_and_among_files(tmp_path):
    lines = ["first", "", "second\nline"]
    save_dataset(tmp_path / "saved", lines)
    write(tmp_path / "more.txt", ["more"])
    assert texts(find_text(tmp_path / "saved", "train.txt", "train")) == lines
    assert texts(find_text(tmp_path / "saved", "valid.txt", "valid")) == ["first"]
    assert texts(find_text(tmp_path, "saved,more.txt", "train")) == [*lines, "more"]


def test_a_saved_dataset_without_splits_is_trained_on_alone(tmp_path):
    """What it is validated on has to be named, and what is named is read."""
    Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(tmp_path / "saved")
    write(tmp_path / "held-out.txt", ["c"])
    saved, other = tmp_path / "saved", str(tmp_path / "held-out.txt")
    assert texts(find_text(saved, "train.txt", "train")) == ["a", "b"]
    assert texts(find_text(saved, other, "valid")) == texts(find_text(saved, other, "train")) == ["c"]
    with pytest.raises(UserError, match="without splits, all of which is trained on; name a text"):
        find_text(saved, "valid.txt", "valid")


def test_the_column_of_a_saved_dataset(tmp_path):
    save_dataset(tmp_path / "saved", ["a", "b"], title=["A", "B"], size=[1, 2])
    assert texts(find_text(tmp_path / "saved", "", "train")) == ["a", "b"]
    assert texts(find_text(tmp_path / "saved", "", "train", "title")) == ["A", "B"]
    with pytest.raises(UserError, match="no column of text 'size'; columns of strings are 'text', 'title'"):
        find_text(tmp_path / "saved", "", "train", "size")


def test_a_saved_dataset_without_the_split_or_damaged(tmp_path):
    save_dataset(tmp_path / "saved", ["a"])
    (found,) = find_text(tmp_path / "saved", "", "train")
    found.path.write_bytes(found.path.read_bytes()[:40])
    with pytest.raises(UserError, match="cannot be read"):
        texts([found])
    shutil.rmtree(tmp_path / "saved" / "validation")
    with pytest.raises(
        UserError, match="no split 'validation' or 'valid' or 'dev' for valid; it has 'train'"
    ):
        find_text(tmp_path / "saved", "", "valid")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ok\n\x00\x00\x01", r"text\.txt, line 2: has a NUL byte"),
        (b"ok\n\x89PNG\r\n\x1a\n", r"text\.txt, line 2: byte 1 \(0x89\) is not UTF-8"),
    ],
)
def test_binary_files_are_named(tmp_path, content, message):
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        texts(find_text(tmp_path, "text.txt", "train"))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no file of .* is like 'a-\*'"):
        find_text(tmp_path, "a-*", "train")
    with pytest.raises(UserError, match=r"gone\.txt does not exist"):
        texts(find_text(tmp_path, "gone.txt", "train"))
    with pytest.raises(UserError, match="no text is named for valid"):
        find_text(tmp_path, " ,", "valid")


def test_a_line_of_any_length_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MOST_BYTES", 16)
    line = "wörter und Wörter und " * 5 + "ä" * 40
    parts = texts([TextFile(write(tmp_path / "text.txt", [line, "short", line]))])
    cut = parts.index("short")
    assert "".join(parts[:cut]) == line == "".join(parts[cut + 1 :])
    assert max(len(part.encode()) for part in parts) <= 32
    words = "".join(parts[: next(i for i, part in enumerate(parts) if "ää" in part)])
    assert all(part.endswith(" ") for part in parts[: len(words) // 16])


def test_a_line_read_in_parts_is_one_line(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(sources, "MOST_BYTES", 16)
    monkeypatch.setattr(writing, "CHARACTERS_AT_ONCE", 40)  # parts of a line come in several batches
    lines = ["good film " * 20, "good", "good film " * 3, "bad " * 9, ""]
    files = [TextFile(write(tmp_path / name, lines)) for name in ("a.txt", "b.txt")]
    assert {number for number, _ in files[0].parts()} == {1, 2, 3, 4, 5}
    corpus = tokenized_corpus(tmp_path / "pieces", files, tokenizer, LONGEST)
    assert corpus.manifest.split_lines == 2 * 3
    write(tmp_path / "c.txt", lines).write_bytes(("good film " * 20 + "\nsch").encode() + b"\xf6n")
    with pytest.raises(UserError, match=r"c\.txt, line 2: byte 4 \(0xf6\) is not UTF-8"):
        texts([TextFile(tmp_path / "c.txt")])


# Pieces on disk


def test_every_piece_comes_back_whatever_the_shards(tmp_path, tokenizer, monkeypatch):
    lines = ["", *lines_of(40), "good " * 30, " "]
    file = TextFile(write(tmp_path / "text.txt", lines))
    wanted = [row for line in lines for row in rows_of(tokenizer.encode(line).teacher_ids, LONGEST)]
    assert max(map(len, wanted)) == LONGEST and len(wanted) > 41
    monkeypatch.setattr(corpus_module, "BLOCKS_PER_SHARD", 5)
    for pieces, shards in ((1 << 22, 1), (100, 4)):
        monkeypatch.setattr(corpus_module, "SHARD_TOKENS", pieces)
        corpus = tokenized_corpus(tmp_path / f"pieces-{shards}", [file], tokenizer, LONGEST)
        assert (corpus.shards >= shards, len(corpus)) == (True, len(wanted))
        found = {}
        for number in range(corpus.shards):
            shard = corpus.read(number)
            assert len(shard.tokens) < 2 * pieces
            found.update((int(row), shard[i].tolist()) for i, row in enumerate(shard.rows))
        assert [found[row] for row in range(len(wanted))] == [list(row) for row in wanted]
        whole = corpus.read()
        assert sorted(whole.rows) == list(range(len(wanted)))
        assert (
            corpus.counts.tolist() == np.bincount(np.concatenate(wanted), minlength=len(tokenizer)).tolist()
        )
        assert corpus.manifest.split_lines == sum(
            len(tokenizer.encode(line).teacher_ids) > LONGEST for line in lines
        )


def test_shards_mix_a_text_that_has_an_order(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(corpus_module, "SHARD_TOKENS", 200)
    monkeypatch.setattr(corpus_module, "BLOCKS_PER_SHARD", 20)
    file = TextFile(write(tmp_path / "text.txt", ["good film"] * 200 + ["bad plot"] * 200))
    corpus = tokenized_corpus(tmp_path / "pieces", [file], tokenizer, LONGEST)
    good = tokenizer.encode("good").teacher_ids[0]
    shares = [(corpus.read(i).tokens == good).mean() for i in range(corpus.shards)]
    assert corpus.shards == 4 and max(shares) - min(shares) < 0.1


def test_rows_of_a_line_are_about_equal():
    assert [len(row) for row in rows_of(range(17), 8)] == [5, 6, 6]
    assert list(itertools.chain(*rows_of(range(17), 8))) == list(range(17))
    assert list(rows_of([], 8)) == []


def test_encode_ids_is_encode_batch(tokenizer):
    lines = [*lines_of(5), "", "  the   film ", "▁ the▁film", "[MASK] zebra"]
    for some in (lines, lines[:-2]):
        assert tokenizer.encode_ids(some) == [pieces.teacher_ids for pieces in tokenizer.encode_batch(some)]


def test_text_is_cut_once_and_changed_text_is_refused(tmp_path, tokenizer, monkeypatch):
    path, directory = write(tmp_path / "text.txt", lines_of(5)), tmp_path / "pieces"
    tokenized_corpus(directory, [TextFile(path)], tokenizer, LONGEST)
    monkeypatch.setattr(writing, "write_tokenized_corpus", None)  # nothing is written again
    again = TextFile(path)
    path.write_bytes(path.read_bytes())  # the same text at another time
    assert len(tokenized_corpus(directory, [again], tokenizer, LONGEST)) > 4
    with pytest.raises(UserError, match="made of rows of up to 8 tokens, not 9; remove it"):
        tokenized_corpus(directory, [again], tokenizer, LONGEST + 1)
    with pytest.raises(UserError, match="made of 1 files, not 2"):
        tokenized_corpus(directory, [again, again], tokenizer, LONGEST)
    with pytest.raises(UserError, match="made of another tokenizer"):
        tokenized_corpus(directory, [again], PieceTokenizer(make_tokenizer(["zebra"])), LONGEST)
    write(path, lines_of(5, seed=1))
    with pytest.raises(UserError, match=r"made of another text\.txt"):
        tokenized_corpus(directory, [again], tokenizer, LONGEST)


def test_damaged_pieces_are_refused(tmp_path, tokenizer):
    directory = tmp_path / "pieces"
    tokenized_corpus(directory, [TextFile(write(tmp_path / "text.txt", lines_of(5)))], tokenizer, LONGEST)
    (directory / "pieces.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"pieces\.bin is damaged \(0 bytes, \d+ were written\); remove it"):
        TokenizedCorpus(directory)
    (directory / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json is damaged \(Invalid JSON: .*\); remove it"):
        TokenizedCorpus(directory)


@pytest.fixture
def pieces(tmp_path, tokenizer):
    files = [TextFile(write(tmp_path / "text.txt", lines_of(5)))]
    tokenized_corpus(tmp_path / "pieces", files, tokenizer, LONGEST)
    return tmp_path / "pieces"


def forget_checksums(directory, **changes):
    """Make it one of an earlier release, with some values of its manifest changed."""
    manifest = json.loads((directory / "manifest.json").read_text())
    del manifest["checksums"], manifest["manifest_sha256"]
    (directory / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def refusal(directory):
    with pytest.raises(UserError) as refused:
        TokenizedCorpus(directory).read()
    assert str(refused.value).endswith("so that it is made again, or give another --tokenized")
    return str(refused.value)


@pytest.mark.parametrize("name", ["pieces.bin", "sizes.bin", "blocks.npy", "crc32.npy", "counts.npy"])
def test_a_flipped_bit(pieces, name, capsys):
    content = bytearray((pieces / name).read_bytes())
    content[-2] ^= 1
    (pieces / name).write_bytes(content)
    assert name in refusal(pieces)
    assert main(["verify", str(pieces)]) == 2 and name in capsys.readouterr().err


def test_text_of_an_earlier_release(pieces, tokenizer):
    """Without checksums what no model could read is refused."""
    tokens = TokenizedCorpus(pieces).read().tokens.copy()
    forget_checksums(pieces)
    assert TokenizedCorpus(pieces).read().tokens.tolist() == tokens.tolist()
    tokens[3] = len(tokenizer)
    tokens.tofile(pieces / "pieces.bin")
    assert f"hold token {len(tokenizer)}, the tokenizer has {len(tokenizer)}" in refusal(pieces)
    sizes = np.fromfile(pieces / "sizes.bin", np.uint16)
    sizes[0] += 1
    sizes.tofile(pieces / "sizes.bin")
    assert "in sizes.bin do not add up to their" in refusal(pieces)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rows": "8"}, 'rows is "8", it should be a valid integer'),
        ({"rows": None}, "rows is null"),
        ({"pieces_type": "object"}, "pieces_type is "),
        ({"files": {}}, "files is {}"),
        ({"files": [{}]}, "files.0.name is missing"),
        ({"format": 2}, "format 2, this version reads 1"),
    ],
)
def test_manifests_of_other_contents(pieces, changes, reason):
    forget_checksums(pieces, **changes)
    assert reason in refusal(pieces)


def test_blocks_of_other_shapes(pieces):
    forget_checksums(pieces)
    np.save(pieces / "blocks.npy", np.array([[0, 0], [1, 2]]))
    assert "blocks.npy does not lead through" in refusal(pieces)
    np.save(pieces / "blocks.npy", np.array([0, 0]))
    assert "blocks.npy is damaged (int64 of shape (2), it should be int64 of (any, 2))" in refusal(pieces)
    (pieces / "blocks.npy").write_bytes(b"")
    assert "blocks.npy is damaged (no array: " in refusal(pieces)
    (pieces / "blocks.npy").unlink()
    assert "blocks.npy is missing" in refusal(pieces)


def test_an_interruption_leaves_nothing_that_could_be_taken_for_the_text(tmp_path, tokenizer):
    files = [TextFile(write(tmp_path / "good.txt", lines_of(5))), TextFile(tmp_path / "gone.txt")]
    with pytest.raises(UserError, match="does not exist"):
        tokenized_corpus(tmp_path / "pieces", files, tokenizer, LONGEST)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".pieces.lock", "good.txt"]


def test_a_full_disk_and_a_place_where_nothing_can_be(tmp_path, tokenizer):
    files = [TextFile(write(tmp_path / "good.txt", lines_of(300)))]
    message = f"^{tmp_path / 'pieces'}: (File too large|Only a part could be written); make room or choose"
    with largest_file(500), pytest.raises(UserError, match=message):
        tokenized_corpus(tmp_path / "pieces", files, tokenizer, LONGEST)
    below = tmp_path / "good.txt" / "pieces"
    with pytest.raises(UserError, match=r"good\.txt: Not a directory; a file is where a folder is meant"):
        tokenized_corpus(below, files, tokenizer, LONGEST)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".pieces.lock", "good.txt"]


def test_empty_files_are_named_and_no_text_at_all_is_refused(tmp_path, tokenizer, caplog):
    empty, full = (
        TextFile(write(tmp_path / "empty.txt", [])),
        TextFile(write(tmp_path / "full.txt", ["good"])),
    )
    assert len(tokenized_corpus(tmp_path / "pieces", [empty, full], tokenizer, LONGEST)) == 1
    assert "empty.txt has no text" in caplog.text
    with pytest.raises(UserError, match=r"no text in .*empty\.txt; give a file"):
        tokenized_corpus(tmp_path / "none", [empty], tokenizer, LONGEST)
    assert not (tmp_path / "none").exists()


def test_memory_does_not_grow_with_the_text(tmp_path, tokenizer, monkeypatch):
    """Ten times the text, the same peak of what Python and NumPy allocate, for cutting and for reading."""
    monkeypatch.setattr(corpus_module, "SHARD_TOKENS", 2_000)
    monkeypatch.setattr(corpus_module, "BLOCKS_PER_SHARD", 2)
    monkeypatch.setattr(writing, "CHARACTERS_AT_ONCE", 20_000)
    save_dataset(tmp_path / "warm", ["up"])  # libraries are loaded before anything is measured
    tokenized_corpus(tmp_path / "w", find_text(tmp_path / "warm", "", "train"), tokenizer, 100).read(0)
    peaks = {}
    for factor in (1, 10):
        file = TextFile(write(tmp_path / f"{factor}.txt", lines_of(2000) * factor))
        tracemalloc.start()
        corpus = tokenized_corpus(tmp_path / f"pieces-{factor}", [file], tokenizer, 100)
        for shard in range(corpus.shards):
            corpus.read(shard)
        peaks[factor] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert corpus.shards > 10
    assert peaks[10] < 1.05 * peaks[1]


# What is hidden


def rows(tokenizer, count=30):
    return [np.array(tokenizer.encode(line).teacher_ids, np.int32) for line in lines_of(count)]


def test_random_masking_is_that_of_each_row_alone(tokenizer):
    pieces = rows(tokenizer)
    masker = Masker.of("random", tokenizer, 0.3)
    found = masker.mask(range(30), pieces, lambda chosen: batch_generator(1, 2, chosen))
    for row, (shown, chosen) in enumerate(found):
        wanted = mask_tokens(pieces[row], masker.scheme, np.random.default_rng((1, 2, row)))
        assert shown.tolist() == wanted[0].tolist() and chosen.tolist() == wanted[1].tolist()


def test_frequency_hides_a_fixed_share_and_rather_rare_pieces(tokenizer):
    pieces = rows(tokenizer)
    counts = np.ones(len(tokenizer), np.int64)
    common = tokenizer.encode("the film").teacher_ids
    counts[common] = 10_000
    masker = Masker.of("frequency", tokenizer, 0.15, counts)
    found = masker.mask(range(30), pieces, lambda chosen: np.random.default_rng(0))
    hidden = np.concatenate([ids[chosen] for ids, (_, chosen) in zip(pieces, found, strict=True)])
    real = sum(len(ids) + 2 for ids in pieces)
    assert len(hidden) == int(np.ceil(0.15 * real))
    assert np.isin(hidden, common).mean() < 0.02 < np.isin(np.concatenate(pieces), common).mean()


def test_whole_words_and_none(tokenizer):
    pieces = rows(tokenizer, 5)
    generator = lambda chosen: np.random.default_rng(0)  # noqa: E731
    for shown, chosen in Masker.of("none", tokenizer, 0.15).mask(range(5), pieces, generator):
        assert not chosen.any() and shown.tolist() in [ids.tolist() for ids in pieces]
    words = Masker.of("whole-word", tokenizer, 0.5)
    assert words.starts is not None and words.starts[len(SPECIAL)]
    assert all(chosen.any() for _, chosen in words.mask(range(5), pieces, generator))
