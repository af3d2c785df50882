"""The student's dictionary: fairseq's numbering, one teacher id an entry."""

from collections import Counter

import numpy as np
import pytest
from fairseq.data import Dictionary
from tiny_tokenizers import BERT_TOKENS, SENTENCES, wordpiece, wrap

from cmlm_kd.data.translation.numbered_sentences import NumberedSentences, Renumbering, TokenNumbers
from cmlm_kd.data.translation.vocabulary import NO_TEACHER_ID, UNK, Vocabulary
from cmlm_kd.errors import UserError
from cmlm_kd.tokenization.pieces import LITERAL_MARK, Pieces, PieceTokenizer, SpecialIds
from cmlm_kd.tokenization.spelling import SPECIALS

SPECIAL = SpecialIds(cls=101, sep=102, mask=103, pad=0, unk=100)
USAGE = Counter(
    {
        ("▁der", 7): 5,
        ("t", 9): 2,
        ("t", 8): 3,
        ("▁", 20): 5,
        (".", 11): 5,
        ("<unk>", 100): 4,
        ("▁<unk>", 100): 2,
    }
)


def build(usage=USAGE):
    return Vocabulary.build(usage, SPECIAL)


def test_entries_are_numbered_as_fairseq_numbers_them():
    vocabulary = build()
    theirs = Dictionary()
    for symbol, count in {"▁der": 5, "t": 5, "▁": 5, ".": 5}.items():
        theirs.add_symbol(symbol, n=count)
    theirs.finalize(padding_factor=8)
    assert vocabulary.symbols[:4] == list(SPECIALS) == theirs.symbols[:4]
    assert sorted(vocabulary.symbols) == sorted(theirs.symbols) and len(vocabulary) % 8 == 0
    assert [theirs.bos(), theirs.pad(), theirs.eos(), theirs.unk()] == [0, 1, 2, 3]


def test_frequent_entries_come_first_and_ties_follow_the_teacher_id():
    vocabulary = build(Counter({("a", 30): 1, ("b", 10): 2, ("c", 20): 2, ("d", 40): 9}))
    assert vocabulary.symbols[4:8] == ["d", "b", "c", "a"]
    assert vocabulary.counts[4:8] == [9, 2, 2, 1]


def test_every_entry_stands_for_one_teacher_id():
    vocabulary = build()
    ids = dict(zip(vocabulary.symbols, vocabulary.teacher_ids.tolist(), strict=True))
    assert {symbol: ids[symbol] for symbol in SPECIALS} == {"<s>": 101, "<pad>": 0, "</s>": 102, "<unk>": 100}
    assert (ids["t"], ids["▁der"], ids["▁"], ids["."]) == (8, 7, 20, 11)  # the more frequent of two
    padding = [symbol for symbol, i in ids.items() if i == NO_TEACHER_ID]
    assert padding == [] and len(vocabulary) == 8
    padded = build(USAGE + Counter({("x", 1): 1}))
    assert padded.symbols[9:] == [f"madeupword{i:04d}" for i in range(7)]
    assert padded.teacher_ids[9:].tolist() == [NO_TEACHER_ID] * 7


def test_unknown_pieces_are_no_entries_but_a_literal_mark_is():
    usage = Counter(
        {("▁" + LITERAL_MARK, 100): 1, (LITERAL_MARK, 100): 1, ("<unk>", 100): 5, ("▁<unk>", 100): 5}
    )
    vocabulary = build(usage)
    assert [symbol for symbol in vocabulary.symbols[4:] if "made" not in symbol] == [
        LITERAL_MARK,
        "▁" + LITERAL_MARK,
    ]
    assert [vocabulary.index(symbol) for symbol in ("<unk>", "▁<unk>", "never seen")] == [UNK] * 3


def test_what_is_saved_is_read_by_us_and_by_fairseq(tmp_path):
    vocabulary = build(USAGE + Counter({("x", 1): 1}))
    vocabulary.save(tmp_path, "de")
    again = Vocabulary.load(tmp_path, "de")
    assert (again.symbols, again.counts) == (vocabulary.symbols, vocabulary.counts)
    np.testing.assert_array_equal(again.teacher_ids, vocabulary.teacher_ids)
    theirs = Dictionary.load(str(tmp_path / "dict.de.txt"))
    assert theirs.symbols == vocabulary.symbols
    assert theirs.count[4:] == vocabulary.counts[4:]


# Checks


def refuse_loading(tmp_path, message):
    with pytest.raises(UserError, match=message):
        Vocabulary.load(tmp_path, "de")


def test_files_that_do_not_fit_each_other(tmp_path):
    build().save(tmp_path, "de")
    with (tmp_path / "dict.de.txt").open("a") as stream:
        stream.write("new 1\n")
    refuse_loading(
        tmp_path, "dict.de.teacher_ids.npy has 8 ids, the dictionary 9 entries; write the data again"
    )


def test_missing_and_damaged_teacher_ids(tmp_path):
    build().save(tmp_path, "de")
    path = tmp_path / "dict.de.teacher_ids.npy"
    path.write_bytes(path.read_bytes()[:-5])
    refuse_loading(tmp_path, r"dict.de.teacher_ids.npy is damaged \(.*\); write the data again")
    path.unlink()
    refuse_loading(
        tmp_path, "teacher_ids.npy is missing, so nothing tells which teacher token an entry stands for"
    )


def test_an_entry_that_is_there_twice(tmp_path):
    build().save(tmp_path, "de")
    dictionary = tmp_path / "dict.de.txt"
    dictionary.write_text(dictionary.read_text().replace("▁der", "t"))
    refuse_loading(tmp_path, "the dictionary holds 't' twice; write the data again with 'cmlm-kd prepare'")


def test_an_entry_without_teacher_id(tmp_path):
    vocabulary = build()
    vocabulary.teacher_ids[6] = NO_TEACHER_ID
    vocabulary.save(tmp_path, "de")
    refuse_loading(tmp_path, r"entry '.+' stands for no token of the teacher \(id -1\); write the data again")


def test_an_entry_whose_teacher_token_is_spelled_otherwise():
    tokenizer = PieceTokenizer(wrap(wordpiece(SENTENCES["de"], lowercase=False), BERT_TOKENS))
    usage = Counter()
    for pieces in tokenizer.encode_batch([*SENTENCES["de"], "ein ▁ hier"]):
        usage.update(zip(pieces.symbols, pieces.teacher_ids, strict=True))
    vocabulary = Vocabulary.build(usage, tokenizer.special)
    vocabulary.check(tokenizer)
    first, second = (vocabulary.index(symbol) for symbol in ("▁Zwei", "▁der"))
    ids = vocabulary.teacher_ids
    ids[[first, second]] = ids[[second, first]]
    with pytest.raises(
        UserError, match=r"entry '.+' stands for teacher id \d+, which the tokenizer spells '.+'"
    ):
        vocabulary.check(tokenizer)
    ids[[first, second]] = len(tokenizer)
    with pytest.raises(UserError, match="which the tokenizer spells nothing; write the data again"):
        vocabulary.check(tokenizer)


# A corpus as numbers


def test_a_corpus_is_numbered_counted_and_renumbered(tmp_path, monkeypatch):
    monkeypatch.setattr("cmlm_kd.data.translation.numbered_sentences._TOKENS_AT_ONCE", 4)
    table = TokenNumbers(SPECIAL.sep)
    sentences = NumberedSentences(tmp_path / "side", table)
    for pieces in (Pieces(["▁a", "t", "t"], [5, 8, 9]), Pieces(["<unk>"], [100])):
        sentences.append(pieces)
    sentences.flush()
    usage = table.usage(sentences.counts(len(table)))
    assert usage == {("▁a", 5): 1, ("t", 8): 1, ("t", 9): 1, ("<unk>", 100): 1, ("</s>", 102): 2}
    for pieces in (Pieces(["t", "▁new"], [8, 6]), Pieces([], [])):
        sentences.append(pieces)
    sentences.flush()
    assert (sentences.rows, np.concatenate(list(sentences.sizes())).tolist()) == (4, [4, 2, 3, 1])
    assert sentences.counts(7).tolist() == [4, 1, 2, 1, 1, 1, 0]
    vocabulary = Vocabulary.build(usage, SPECIAL)
    renumbering = Renumbering.between(table, vocabulary)
    blocks = list(sentences.blocks(renumbering.entries))
    assert [len(block) for block in blocks] == [4, 4, 2]
    assert [vocabulary.symbols[i] for i in np.concatenate(blocks)] == [
        *("▁a", "t", "t", "</s>", "<unk>", "</s>"),
        *("t", "<unk>", "</s>", "</s>"),
    ]
    assert renumbering.unknown.tolist() == [False, False, False, False, True, True]
    assert renumbering.merged.tolist() == [False, False, False, True, False, False]
