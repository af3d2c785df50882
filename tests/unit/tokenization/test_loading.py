"""What is a teacher's tokenizer and what is not; sentencepiece models without other tokenizer files."""

import json
import shutil

import pytest
from tiny_tokenizers import (
    BERT_TOKENS,
    ROBERTA_TOKENS,
    SENTENCES,
    byte_level,
    training_lines,
    wordpiece,
    wrap,
    write_config,
    write_sentencepiece,
    write_wordpiece,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from cmlm_kd.errors import UserError
from cmlm_kd.tokenization.pieces import PieceTokenizer, load_tokenizer, pieces_to_text

TEXT = [*SENTENCES["de"], *SENTENCES["en"], "eine ﬁne Sache … ½ Liter", "ＡＢＣ １２３", "a\u00a0b"]


@pytest.fixture(scope="module")
def lines():
    return [*training_lines(), "1⁄2 ... "]


# sentencepiece alone


@pytest.mark.parametrize(
    ("family", "model_type"),
    [
        ("xlm-roberta", "unigram"),
        ("xlm-roberta", "bpe"),
        ("camembert", "unigram"),
        ("deberta-v2", "unigram"),
        ("bert", "unigram"),
        ("bert", "bpe"),
    ],
)
def test_text_is_cut_as_sentencepiece_cuts_it(lines, tmp_path, family, model_type):
    model = write_sentencepiece(tmp_path / "teacher", lines, family, model_type)
    tokenizer = PieceTokenizer.from_pretrained(str(tmp_path / "teacher"))
    hugging_face = tokenizer.tokenizer
    for text, pieces in zip(TEXT, tokenizer.encode_batch(TEXT), strict=True):
        expected = model.encode(text, out_type=str)
        assert pieces.symbols == expected
        assert hugging_face.convert_ids_to_tokens(pieces.teacher_ids) == expected


def test_ids_are_those_of_the_family(lines, tmp_path):
    """Pretrained by fairseq, XLM-R's ids begin one later than the model's, CamemBERT's four."""
    for family, shift in (("xlm-roberta", 1), ("camembert", 4), ("deberta-v2", 0), ("bert", 0)):
        model = write_sentencepiece(tmp_path / family, lines, family)
        tokenizer = PieceTokenizer.from_pretrained(str(tmp_path / family))
        expected = [i + shift for i in model.encode(SENTENCES["de"][0])]
        assert tokenizer.encode(SENTENCES["de"][0]).teacher_ids == expected


def test_albert_lower_cases_before_sentencepiece(lines, tmp_path):
    lowered = [line.lower() for line in lines]
    model = write_sentencepiece(tmp_path / "teacher", lowered, "albert")
    tokenizer = PieceTokenizer.from_pretrained(str(tmp_path / "teacher"))
    special = tokenizer.special
    assert (special.pad, special.unk, special.cls, special.sep, special.mask) == (0, 1, 2, 3, 4)
    assert tokenizer.encode(SENTENCES["en"][0]).symbols == model.encode(
        SENTENCES["en"][0].lower(), out_type=str
    )


def test_special_tokens_of_an_unknown_family_may_be_configured(lines, tmp_path):
    write_sentencepiece(
        tmp_path, lines, "bert", control_symbols=["<begin>", "[SEP]"], user_defined_symbols=["[MASK]"]
    )
    with pytest.raises(UserError, match="has no cls token"):
        load_tokenizer(str(tmp_path))
    config = {"cls_token": {"content": "<begin>"}, "mask_token": "[MASK]"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(str(tmp_path))
    assert (tokenizer.cls_token, tokenizer.mask_token, tokenizer.sep_token) == ("<begin>", "[MASK]", "[SEP]")
    ids = tokenizer("ein", "zwei")["input_ids"]
    assert ids[0] == tokenizer.cls_token_id and ids.count(tokenizer.sep_token_id) == 2


def test_user_defined_symbols_are_pieces(lines, tmp_path):
    for model_type in ("unigram", "bpe"):
        model = write_sentencepiece(tmp_path / model_type, lines, "bert", model_type)
        text = "ein NUMBER, xNUMBERy"
        symbols = PieceTokenizer.from_pretrained(str(tmp_path / model_type)).encode(text).symbols
        assert symbols == model.encode(text, out_type=str) and symbols.count("NUMBER") == 2


def test_several_models_are_refused(lines, tmp_path):
    write_sentencepiece(tmp_path, lines)
    shutil.copy(tmp_path / "sentencepiece.bpe.model", tmp_path / "target.spm.model")
    message = r"several sentencepiece models \(sentencepiece.bpe.model, target.spm.model\); leave only"
    with pytest.raises(UserError, match=message):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x96\x01"])
def test_a_damaged_model_is_refused(tmp_path, content):
    write_config(tmp_path, "xlm-roberta")
    (tmp_path / "sentencepiece.bpe.model").write_bytes(content)
    with pytest.raises(
        UserError, match="is not a sentencepiece model; copy the teacher's tokenizer files again"
    ):
        load_tokenizer(str(tmp_path))


# Case


@pytest.mark.parametrize("as_vocabulary", [False, True])
@pytest.mark.parametrize("lowercase", [False, True])
def test_case_is_that_of_the_vocabulary_where_no_configuration_tells(
    lines, tmp_path, lowercase, as_vocabulary
):
    write_config(tmp_path, "bert")
    tokenizer = wordpiece(lines, lowercase, size=700)
    if as_vocabulary:
        tokenizer.model.save(str(tmp_path))  # vocab.txt
    else:
        tokenizer.save(str(tmp_path / "tokenizer.json"))
    symbols = PieceTokenizer.from_pretrained(str(tmp_path)).encode("Zwei Männer").symbols
    assert pieces_to_text(symbols) == ("zwei manner" if lowercase else "Zwei Männer")


def test_a_configured_case_is_kept(lines, tmp_path):
    write_wordpiece(tmp_path, lines, lowercase=False)
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    symbols = PieceTokenizer.from_pretrained(str(tmp_path)).encode("Zwei").symbols
    assert pieces_to_text(symbols) == "zwei"


# Refusals


def refuse(path, message):
    with pytest.raises(UserError, match=message):
        PieceTokenizer.from_pretrained(str(path))


def test_a_missing_directory(tmp_path):
    refuse(tmp_path / "nowhere", "nowhere' is not a directory; give a Hugging Face directory or hub name")
    (tmp_path / "file").write_text("")
    refuse(tmp_path / "file", "file' is not a directory")


def test_a_directory_without_tokenizer(tmp_path):
    write_config(tmp_path, "bert")
    refuse(
        tmp_path,
        r"has no tokenizer \(looked for tokenizer.json, .*\); save one there with tokenizer.save_pre",
    )


def test_a_damaged_tokenizer(tmp_path):
    write_config(tmp_path, "bert")
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"')
    refuse(tmp_path, "cannot load a tokenizer from .*; give a directory written by save_pretrained")


def test_a_hub_name_that_cannot_be_reached(monkeypatch):
    def fail(*arguments, **settings):
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    refuse("some/model", "cannot load a tokenizer from 'some/model': no route to host; give a directory")


@pytest.mark.parametrize("token", ["mask", "cls", "sep", "pad", "unk"])
def test_a_tokenizer_without_a_special_token(lines, tmp_path, token):
    tokens = {name: value for name, value in BERT_TOKENS.items() if name != token}
    wrap(wordpiece(lines, True), tokens).save_pretrained(tmp_path)
    write_config(tmp_path, "gpt2")
    refuse(
        tmp_path, f"has no {token} token, .*; take a BERT- or RoBERTa-like model, or name the {token}_token"
    )


def test_a_tokenizer_without_word_boundaries():
    words = {token: i for i, token in enumerate([*BERT_TOKENS.values(), "a"])}
    backend = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(UserError, match="is a WordLevel model without a word boundary mark; supported are"):
        PieceTokenizer(wrap(backend, BERT_TOKENS))


def test_one_separator_where_the_tokenizer_frames_nothing():
    backend = byte_level(["a b"], False, size=300)
    framed = PieceTokenizer(wrap(backend, ROBERTA_TOKENS)).separators
    backend.post_processor = processors.ByteLevel()
    assert (framed, PieceTokenizer(wrap(backend, ROBERTA_TOKENS)).separators) == (2, 1)


# What fast tokenizers, or transformers' families, do not know of sentencepiece


@pytest.mark.parametrize("family", ["xlm-roberta", "camembert", "albert", "deberta-v2", "bert"])
def test_bytes_stand_for_unknown_characters(lines, tmp_path, family):
    lowered = [line.lower() for line in lines]
    model = write_sentencepiece(tmp_path, lowered, family, size=700, byte_fallback=True)
    tokenizer = load_tokenizer(str(tmp_path), required=("unk",))
    for text in ("łmann", "ein ䷀ mann"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.convert_ids_to_tokens(ids) == model.encode(text, out_type=str)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"treat_whitespace_as_suffix": True}, "treat_whitespace_as_suffix"),
        ({"add_dummy_prefix": False}, "add_dummy_prefix=false"),
        ({"remove_extra_whitespaces": False}, "remove_extra_whitespaces=false"),
    ],
)
@pytest.mark.parametrize("family", ["xlm-roberta", "bert"])
@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_settings_that_would_be_lost_are_refused(lines, tmp_path, family, model_type, settings, named):
    write_sentencepiece(tmp_path, lines, family, model_type, **settings)
    with pytest.raises(UserError, match=f"was trained with {named}, .*would be cut otherwise"):
        load_tokenizer(str(tmp_path))


def test_pieces_of_several_words_are_refused(tmp_path):
    write_sentencepiece(
        tmp_path, ["new york is big", "in new york", "big new york"] * 50, "xlm-roberta",
        size=40, split_by_whitespace=False, user_defined_symbols=[], hard_vocab_limit=False,
    )  # fmt: skip
    with pytest.raises(UserError, match="split_by_whitespace=false, with pieces of several words"):
        load_tokenizer(str(tmp_path))


def test_a_model_of_whole_words_is_refused(lines, tmp_path):
    write_sentencepiece(tmp_path, lines, "xlm-roberta", "word", size=100)
    with pytest.raises(UserError, match=r"was trained with model_type=word, .*would be cut otherwise"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("family", ["xlm-roberta", "camembert", "albert", "deberta-v2", "bert"])
def test_user_defined_symbols_stand_alone(lines, tmp_path, family):
    """transformers makes added tokens of them, which swallow the space before and get one after."""
    model = write_sentencepiece(tmp_path, lines, family, user_defined_symbols=["<num>"])
    tokenizer = load_tokenizer(str(tmp_path), required=("unk",))
    for text in ("vor <num> nach", "x<num>y", "<num>"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.convert_ids_to_tokens(ids) == model.encode(text, out_type=str)


def test_a_tokenizer_that_cuts_otherwise_is_refused(lines, tmp_path):
    """Whatever the reason: here a vocabulary of small letters is told to keep capitals, and the reverse."""
    write_sentencepiece(tmp_path, lines, "albert")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    with pytest.raises(UserError, match=r"spiece.model cuts '.*would be cut otherwise"):
        load_tokenizer(str(tmp_path))


def test_an_albert_with_capitals_keeps_them(lines, tmp_path):
    model = write_sentencepiece(tmp_path, lines, "albert")
    tokenizer = load_tokenizer(str(tmp_path))
    for text in SENTENCES["de"]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.convert_ids_to_tokens(ids) == model.encode(text, out_type=str)
