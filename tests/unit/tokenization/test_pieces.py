"""Every kind of tokenizer in the "▁ starts a word" convention, on text in two languages and on odd text."""

import gzip
import io
import json
import random
import unicodedata
import zipfile

import pytest
from fairseq.data.data_utils import post_process
from tiny_tokenizers import (
    BERT_TOKENS,
    SENTENCES,
    byte_level,
    training_lines,
    wordpiece,
    wrap,
    write_byte_level,
    write_config,
    write_sentencepiece,
    write_wordpiece,
)
from tokenizers import models, pre_tokenizers

from cmlm_kd.tokenization.known_words import cuts_words_alone
from cmlm_kd.tokenization.loading import serialized_hash
from cmlm_kd.tokenization.pieces import LITERAL_MARK, UNKNOWN, WORD_START, PieceTokenizer, pieces_to_text
from cmlm_kd.tokenization.spelling import SPECIALS

KINDS = ("cased", "uncased", "bytes", "bytes-no-prefix", "unigram", "bpe", "byte-fallback")
SENTENCEPIECE_KINDS = ("unigram", "bpe", "byte-fallback")
TEXT = [*SENTENCES["de"], *SENTENCES["en"]]


@pytest.fixture(scope="module")
def lines():
    return training_lines()


@pytest.fixture(scope="module")
def directories(lines, tmp_path_factory):
    root = tmp_path_factory.mktemp("tokenizers")
    write_wordpiece(root / "cased", lines, lowercase=False)
    write_wordpiece(root / "uncased", lines, lowercase=True)
    write_byte_level(root / "bytes", lines, add_prefix_space=True)
    write_byte_level(root / "bytes-no-prefix", lines, add_prefix_space=False)
    write_sentencepiece(root / "unigram", lines)
    write_sentencepiece(root / "bpe", lines, model_type="bpe")
    write_sentencepiece(
        root / "byte-fallback",
        lines,
        family="bert",
        model_type="bpe",
        size=700,
        byte_fallback=True,
    )
    return {kind: root / kind for kind in KINDS}


@pytest.fixture(scope="module")
def tokenizers(directories):
    return {kind: PieceTokenizer.from_pretrained(str(path)) for kind, path in directories.items()}


@pytest.fixture(params=KINDS)
def tokenizer(request, tokenizers):
    return tokenizers[request.param]


def own_normalisation(tokenizer, text):
    """Return a text as the tokenizer itself changes it before it cuts it into pieces."""
    normalizer = tokenizer.tokenizer.backend_tokenizer.normalizer
    return " ".join((normalizer.normalize_str(text) if normalizer else text).split())


def text_of(tokenizer, text):
    return pieces_to_text(tokenizer.encode(text).symbols)


# What comes back


def test_text_comes_back_up_to_the_tokenizers_own_normalisation(tokenizer, lines):
    for text, pieces in zip(lines, tokenizer.encode_batch(lines), strict=True):
        assert UNKNOWN not in "".join(pieces.symbols), text
        assert pieces_to_text(pieces.symbols) == own_normalisation(tokenizer, text)


def test_fairseqs_own_post_processing_restores_the_same_text(tokenizer):
    for text, pieces in zip(TEXT, tokenizer.encode_batch(TEXT), strict=True):
        if not any("<0x" in symbol for symbol in pieces.symbols):
            assert post_process(" ".join(pieces.symbols), "sentencepiece") == text_of(tokenizer, text)


def test_pieces_that_begin_a_word_and_no_others_begin_with_the_mark(tokenizer):
    for text in ["Two men, they're here (or not).", "ein Mann"]:
        symbols = tokenizer.encode(text).symbols
        assert [symbols[0][0], sum(symbol.count(WORD_START) for symbol in symbols)] == [
            WORD_START,
            len(text.split()),
        ]


ODD = (
    "\u00ad",
    "\u0301",
    "\x07",
    "丌",
    "İ",
    "ﬁ",
    "-",
    "'",
    "\u2028",
    "[MASK]",
    "##t",
    "▁",
    " ",
    "Café",
    "\u200d",
)


@pytest.mark.parametrize("kind", ["cased", "uncased"])
def test_words_cut_once_are_what_whole_texts_are_cut_into(directories, kind, lines, monkeypatch):
    """Also where there is no room for all of them, and where characters disappear."""
    monkeypatch.setattr("cmlm_kd.tokenization.known_words._MOST", 40)
    monkeypatch.setattr("cmlm_kd.tokenization.known_words._LONGEST", 6)
    tokenizer, odd = PieceTokenizer.from_pretrained(str(directories[kind])), random.Random(1)
    texts = [*lines[:200], *("".join(odd.choices([*ODD, *lines[0]], k=12)) for _ in range(500)), ""]
    assert tokenizer._words is not None
    for _ in range(2):  # unknown words, then known ones
        assert tokenizer.encode_batch(texts) == list(tokenizer._cut(texts))
    assert len(tokenizer._words._known) == 40


@pytest.mark.parametrize("change", ["normalizer", "pre_tokenizer", "added"])
def test_only_what_bert_does_to_a_text_is_known_to_do_it_word_by_word(tokenizers, change):
    description = json.loads(tokenizers["cased"].tokenizer.backend_tokenizer.to_str())
    assert cuts_words_alone(description)
    if change == "added":
        description["added_tokens"].append({"id": 9, "content": "New York", "special": False})
    else:
        description[change] = {"type": "Sequence"}
    assert not cuts_words_alone(description)


def test_symbols_survive_a_dictionary_file_and_a_line_of_text(tokenizer):
    for i in range(len(tokenizer)):
        symbol = tokenizer.symbol(i)
        assert symbol.split() == [symbol] and (symbol == UNKNOWN or symbol not in SPECIALS)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"bytes-no-prefix"}))
def test_teacher_ids_are_those_of_the_tokenizer(tokenizers, kind):
    hugging_face = tokenizers[kind].tokenizer
    for text, pieces in zip(TEXT, tokenizers[kind].encode_batch(TEXT), strict=True):
        assert pieces.teacher_ids == hugging_face(text, add_special_tokens=False)["input_ids"]


def test_a_first_word_is_cut_like_any_other_whatever_add_prefix_space_says(tokenizers):
    tokenizer = tokenizers["bytes-no-prefix"]
    first, later = tokenizer.encode("Musik"), tokenizer.encode("hören Musik")
    assert later.teacher_ids[-len(first.teacher_ids) :] == first.teacher_ids
    assert first.teacher_ids == tokenizer.tokenizer(" Musik", add_special_tokens=False)["input_ids"]


def test_a_saved_tokenizer_is_the_same(tokenizers, tmp_path):
    for kind, tokenizer in tokenizers.items():
        write_config(tmp_path / kind, "xlm-roberta" if kind == "unigram" else "bert")
        tokenizer.tokenizer.save_pretrained(tmp_path / kind)
        again = PieceTokenizer.from_pretrained(str(tmp_path / kind))
        assert serialized_hash(again.tokenizer) == serialized_hash(tokenizer.tokenizer), kind
        assert again.encode_batch(TEXT) == tokenizer.encode_batch(TEXT)
        assert (again.special, again.separators) == (tokenizer.special, tokenizer.separators)


@pytest.mark.parametrize(
    ("kind", "separators", "special"),
    [("cased", 1, (2, 3, 4, 0, 1)), ("bytes", 2, (0, 2, 4, 1, 3)), ("unigram", 2, (0, 2, 401, 1, 3))],
)
def test_special_ids(tokenizers, kind, separators, special):
    found = tokenizers[kind].special
    assert (found.cls, found.sep, found.mask, found.pad, found.unk) == special
    assert tokenizers[kind].separators == separators


# Odd text


@pytest.mark.parametrize("text", ["", "   ", "\t\u00a0\u2028"])
def test_no_text_has_no_pieces(tokenizer, text):
    assert tokenizer.encode(text).symbols == tokenizer.encode(text).teacher_ids == []


@pytest.mark.parametrize(
    "text", ["a▁b", "▁", "▁▁ x", "ein ▁ mann", "ein▁", "▁ein", "a ▁b ▁▁c▁ d▁▁", "▁ ▁"], ids=repr
)
def test_a_literal_mark_survives(tokenizer, text):
    pieces = tokenizer.encode(text)
    assert pieces_to_text(pieces.symbols) == text
    assert post_process(" ".join(pieces.symbols), "sentencepiece") == text.replace("▁", LITERAL_MARK)
    unknown = [i for i, s in zip(pieces.teacher_ids, pieces.symbols, strict=True) if LITERAL_MARK in s]
    assert unknown == [tokenizer.special.unk] * text.count("▁")


@pytest.mark.parametrize("text", ["⎽", "a⎽b ▁", "<0x41>", "<0xE2><0x96>", "x<0x0A>"], ids=repr)
@pytest.mark.parametrize("kind", ["bytes", "bytes-no-prefix"])
def test_what_looks_like_our_own_spelling_is_text(tokenizers, kind, text):
    assert text_of(tokenizers[kind], text) == text


@pytest.mark.parametrize("token", ["[MASK]", "[UNK]", "[SEP]", "</s>", "<s>", "<mask>", "<pad>", "<unk>"])
def test_a_special_token_in_a_text_is_text(tokenizer, token):
    text = f"ein {token} mann{token}"
    pieces = tokenizer.encode(text)
    assert not set(vars(tokenizer.special).values()) & set(pieces.teacher_ids)
    assert pieces_to_text(pieces.symbols) == own_normalisation(tokenizer, text)


def test_unknown_characters_are_unknown_and_keep_their_words_place(tokenizers):
    for kind in ("cased", "uncased", "unigram", "bpe"):
        pieces = tokenizers[kind].encode("ein ☃ Mann")
        assert tokenizers[kind].special.unk in pieces.teacher_ids
        assert pieces_to_text(pieces.symbols).lower() == "ein <unk> mann"


@pytest.mark.parametrize("kind", ["bytes", "bytes-no-prefix", "byte-fallback"])
@pytest.mark.parametrize("text", ["a 😀😀 b", "漢字 かな", "안녕", "é\u0300", "ﬁ ½", "👩‍👩‍👧 ok"])
def test_characters_split_into_bytes_and_come_back(tokenizers, kind, text):
    tokenizer = tokenizers[kind]
    symbols = tokenizer.encode(text).symbols
    assert any("<0x" in symbol for symbol in symbols)
    assert pieces_to_text(symbols) == own_normalisation(tokenizer, text)


def test_bytes_that_are_no_character_become_the_replacement_character():
    assert pieces_to_text(["▁a", "<0xE2>", "<0x80>", "▁b"]) == "a\ufffd b"
    assert pieces_to_text(["▁<0xE2><0x82>", "<0xAC>"]) == "€"


def test_spaces_of_any_kind_are_one_space(tokenizer):
    expected = tokenizer.encode("ein Mann hier").symbols
    assert tokenizer.encode(" ein\u00a0 Mann\u2009\u3000hier\x1f").symbols == expected


def test_deleted_characters_leave_the_spaces_around_them(tokenizers):
    for kind in ("cased", "uncased"):
        text = "\u200bein \u200bMann\u200b \u200b hier Haus\u00adfrau"
        assert text_of(tokenizers[kind], text).lower() == "ein mann hier hausfrau"


def test_a_character_of_several_tokens_begins_one_word():
    """Uncased BERT takes Korean syllables apart, all parts at the place of the syllable."""
    text = "한국어 안녕"
    letters = sorted(set(unicodedata.normalize("NFD", text)) - {" "})
    vocabulary = [*BERT_TOKENS.values(), *letters, *(f"##{letter}" for letter in letters)]
    backend = wordpiece(["a"], lowercase=True)
    backend.model = models.WordPiece({t: i for i, t in enumerate(vocabulary)}, unk_token="[UNK]")
    symbols = PieceTokenizer(wrap(backend, BERT_TOKENS)).encode(text).symbols
    assert len(symbols) == len(unicodedata.normalize("NFD", text)) - 1
    assert "".join(symbols).count(WORD_START) == 2
    assert unicodedata.normalize("NFC", pieces_to_text(symbols)) == text


def test_chinese_is_cut_into_characters_without_spaces():
    tokenizer = PieceTokenizer(wrap(wordpiece(["我爱你 ok"], lowercase=False), BERT_TOKENS))
    assert tokenizer.encode("我爱你 ok").symbols == ["▁我", "爱", "你", "▁ok"]


@pytest.mark.parametrize("kind", ["cased", "bytes", "unigram"])
def test_added_tokens_keep_the_spaces_of_the_text(directories, kind):
    from cmlm_kd.tokenization.pieces import load_tokenizer

    hugging_face = load_tokenizer(str(directories[kind]))
    hugging_face.add_tokens(["NAME", "két szó"])
    tokenizer = PieceTokenizer(hugging_face)
    text = "NAME und NAME's xNAMEy (NAME) két szó."
    pieces = tokenizer.encode(text)
    assert pieces.teacher_ids.count(hugging_face.convert_tokens_to_ids("NAME")) == 4
    assert pieces_to_text(pieces.symbols) == text
    assert all(symbol.split() == [symbol] for symbol in pieces.symbols)


def test_a_piece_that_is_fairseqs_special_is_spelled_otherwise():
    vocabulary = [*BERT_TOKENS.values(), "</s>", "<s>", "madeupword0000", "##</s>", "a"]
    backend = wordpiece(["a"], lowercase=False)
    backend.model = models.WordPiece({t: i for i, t in enumerate(vocabulary)}, unk_token="[UNK]")
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PieceTokenizer(wrap(backend, BERT_TOKENS))
    text = "</s> a</s> <s> madeupword0000"
    pieces = tokenizer.encode(text)
    assert pieces.teacher_ids == [5, 9, 8, 6, 7]
    assert not {symbol.removeprefix(WORD_START) for symbol in pieces.symbols} & {*SPECIALS, "madeupword0000"}
    assert pieces_to_text(pieces.symbols) == text


def test_byte_level_alphabet_is_that_of_the_tokenizers_library():
    tokenizer = PieceTokenizer(wrap(byte_level(["a"], True, size=300), {**BERT_TOKENS, "unk": "<unk>"}))
    backend = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in ("aé€😀", "".join(map(chr, range(0x21, 0x180)))):
        characters = backend.pre_tokenize_str(text)[0][0]
        symbols = [tokenizer.symbol(tokenizer.tokenizer.convert_tokens_to_ids(c)) for c in characters]
        assert pieces_to_text(symbols) == text


# Real tokenizers, real text


def multi30k(shared, language):
    with gzip.open(shared / "data" / "multi30k" / f"val.{language}.gz", "rt", encoding="utf-8") as stream:
        return stream.read().split("\n")[:-1]


def tatoeba(shared, column):
    archive = zipfile.ZipFile(shared / "data" / "tatoeba-deu-eng" / "deu-eng.zip")
    name = next(name for name in archive.namelist() if name.endswith("deu.txt"))
    with io.TextIOWrapper(archive.open(name), encoding="utf-8") as stream:
        return [line.split("\t")[column] for i, line in enumerate(stream) if i % 60 == 0]


@pytest.mark.real
@pytest.mark.parametrize("model", ["minilm-l6-en", "bert-tiny-mlm-en", "multilingual-e5-small-ende"])
def test_real_text_comes_back(shared_dir, model):
    tokenizer = PieceTokenizer.from_pretrained(str(shared_dir / "models" / model))
    text = [*multi30k(shared_dir, "de"), *multi30k(shared_dir, "en")]
    text += [*tatoeba(shared_dir, 0), *tatoeba(shared_dir, 1)]
    known = 0
    for sentence, pieces in zip(text, tokenizer.encode_batch(text), strict=True):
        if UNKNOWN not in "".join(pieces.symbols):
            known += 1
            restored = post_process(" ".join(pieces.symbols), "sentencepiece")
            assert pieces_to_text(pieces.symbols) == restored == own_normalisation(tokenizer, sentence)
    assert len(text) > 7000 and known > 0.98 * len(text)
