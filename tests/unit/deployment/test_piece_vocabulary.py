"""One vocabulary of two dictionaries: transformers' own tokenizer gives the model what fairseq would."""

from pathlib import Path

import pytest
from tiny_tokenizers import SENTENCES, training_lines, write_byte_level, write_sentencepiece, write_wordpiece
from transformers import AutoTokenizer

from cmlm_kd.deployment.piece_vocabulary import write_entries_tokenizer
from cmlm_kd.deployment.student import EOS, UNK, TranslationStudent
from cmlm_kd.errors import UserError
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.spelling import SPECIALS


def student_of(teacher, leave_out=0):
    """Return a student whose dictionaries are the symbols of the sentences, some left out."""
    pieces = PieceTokenizer.from_pretrained(str(teacher))
    sides = []
    for language in ("de", "en"):
        found = {symbol for text in SENTENCES[language] for symbol in pieces.encode(text).symbols}
        known = sorted(found - {"▁<unk>", "<unk>"})
        sides.append([*SPECIALS, *known[leave_out:], "madeupword0000"])
    return TranslationStudent(Path("x.pt"), Path("data"), ("de", "en"), {}, *sides, pieces)


def saved(student, folder):
    """Return the vocabulary and the tokenizer that a user of transformers loads."""
    vocabulary = write_entries_tokenizer(student, folder, 50)
    (folder / "config.json").write_text('{"model_type": "marian"}')
    return vocabulary, AutoTokenizer.from_pretrained(folder)


def entries(student, text):
    known = {symbol: i for i, symbol in enumerate(student.source_symbols)}
    return [*(known.get(symbol, UNK) for symbol in student.pieces.encode(text).symbols), EOS]


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_sentencepiece_gives_the_same_entries_unknown_ones_too(model_type, tmp_path):
    write_sentencepiece(tmp_path / "teacher", training_lines(), model_type=model_type)
    student = student_of(tmp_path / "teacher", leave_out=12)
    vocabulary, tokenizer = saved(student, tmp_path)
    unknown = 0
    for text in [*SENTENCES["de"], *SENTENCES["en"], "</s> ist Text"]:
        found = [vocabulary.source_rows[i] for i in tokenizer(text)["input_ids"]]
        assert found == entries(student, text)
        unknown += found.count(UNK)
    assert unknown > 10, "tokens that the dictionary lacks are part of the test"


def test_wordpiece_gives_the_same_entries_where_the_dictionary_has_them(tmp_path):
    write_wordpiece(tmp_path / "teacher", training_lines(), lowercase=False)
    student = student_of(tmp_path / "teacher")
    vocabulary, tokenizer = saved(student, tmp_path)
    for text in SENTENCES["de"]:
        found = [vocabulary.source_rows[i] for i in tokenizer(text)["input_ids"]]
        assert found == entries(student, text)


@pytest.mark.parametrize(
    "write", [write_sentencepiece, lambda *args: write_wordpiece(*args, lowercase=False)]
)
def test_translations_are_read_back(write, tmp_path):
    write(tmp_path / "teacher", training_lines())
    student = student_of(tmp_path / "teacher")
    vocabulary, tokenizer = saved(student, tmp_path)
    targets = {symbol: i for i, symbol in enumerate(student.target_symbols)}
    assert vocabulary.target_size == len(student.target_symbols) < len(vocabulary)
    for text in SENTENCES["en"]:
        ids = [targets[symbol] for symbol in student.pieces.encode(text).symbols]
        assert tokenizer.decode([EOS, *ids, EOS], skip_special_tokens=True) == text


def test_tokens_have_one_id_each(tmp_path):
    write_wordpiece(tmp_path / "teacher", training_lines(), lowercase=False)
    vocabulary = write_entries_tokenizer(student_of(tmp_path / "teacher"), tmp_path, 50)
    assert len(set(vocabulary.tokens)) == len(vocabulary.tokens) == len(vocabulary.source_rows)


def test_a_byte_level_tokenizer_is_refused_with_a_target_that_takes_it(tmp_path):
    write_byte_level(tmp_path / "teacher", training_lines(), add_prefix_space=False)
    with pytest.raises(UserError, match=r"byte-level BPE.* export it to ctranslate2"):
        write_entries_tokenizer(student_of(tmp_path / "teacher"), tmp_path, 50)
