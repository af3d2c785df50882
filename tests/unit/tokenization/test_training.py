import json

import pytest
from disk import largest_file
from transformers import AutoTokenizer

from cmlm_kd.cli import main
from cmlm_kd.data.numbers import CorpusSizes, build_corpus
from cmlm_kd.errors import UserError
from cmlm_kd.tokenization.pieces import PieceTokenizer, pieces_to_text
from cmlm_kd.tokenization.training import (
    LONGEST_LINE,
    LONGEST_WORD,
    TokenizerOptions,
    save_tokenizer,
    short_lines,
    train_tokenizer,
)

VOCABULARY = 300


@pytest.fixture(scope="module")
def sentences():
    corpus = build_corpus(3, CorpusSizes(pairs=400, valid=1, test=50, monolingual=1))
    return {split: [text for pair in corpus.parallel[split] for text in pair] for split in ("train", "test")}


@pytest.fixture(scope="module")
def directory(sentences, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "new"
    save_tokenizer(train_tokenizer(sentences["train"], TokenizerOptions(VOCABULARY)), path)
    return path


def test_auto_tokenizer_loads_it_with_all_special_tokens(directory):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    special = [getattr(tokenizer, f"{name}_token_id") for name in ("pad", "unk", "cls", "sep", "mask")]
    assert special == [0, 1, 2, 3, 4]
    assert len(tokenizer) == VOCABULARY
    encoding = tokenizer("Drei Euro.", "Three euros.")
    ids = encoding["input_ids"]
    assert (ids[0], ids[-1], ids.count(3)) == (2, 3, 2)  # [CLS] A [SEP] B [SEP]
    first = ids.index(3) + 1
    assert encoding["token_type_ids"] == [0] * first + [1] * (len(ids) - first)


def test_text_it_never_saw_comes_back_from_its_pieces_with_case(directory, sentences):
    tokenizer = PieceTokenizer.from_pretrained(str(directory))
    known = 0
    for text, pieces in zip(sentences["test"], tokenizer.encode_batch(sentences["test"]), strict=True):
        if "<unk>" not in pieces.symbols:
            known += 1
            assert pieces_to_text(pieces.symbols) == text
    assert known > 80


def test_it_segments_as_sentencepiece_does(sentences):
    import sentencepiece

    from cmlm_kd.tokenization.training import _train_sentencepiece

    options = TokenizerOptions(VOCABULARY)
    model = sentencepiece.SentencePieceProcessor(
        model_proto=_train_sentencepiece(sentences["train"], options)
    )
    tokenizer = train_tokenizer(sentences["train"], options)
    for text in [*sentences["test"], "  zwei   Räume ", "ﬁ ½ Ⅻ\u00a0x", "漢字"]:
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == model.encode(text)


def test_the_same_text_gives_the_same_bytes(directory, sentences, tmp_path):
    save_tokenizer(train_tokenizer(sentences["train"], TokenizerOptions(VOCABULARY)), tmp_path / "again")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (directory / name).read_bytes()


def test_digits_can_be_split(sentences):
    tokenizer = train_tokenizer(sentences["train"], TokenizerOptions(VOCABULARY, split_digits=True))
    pieces = [piece.removeprefix("▁") for piece in tokenizer.tokenize("im Jahr 1987")]
    assert pieces[-4:] == ["1", "9", "8", "7"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TokenizerOptions(5), "--vocab-size is 5, but 5 pieces are special"),
        (TokenizerOptions(10_000), r"cannot make 10000 pieces from 800 lines: Vocabulary size too high"),
        (TokenizerOptions(20), r"cannot make 20 pieces from 800 lines: Vocabulary size is smaller"),
        (TokenizerOptions(10**12), r"--vocab-size is 1000000000000, it must be from 1 to 1,000,000"),
        (
            TokenizerOptions(300, character_coverage=0),
            r"--character-coverage is 0, it must be in \[0.98, 1\]",
        ),
        (TokenizerOptions(300, character_coverage=0.9), r"is 0.9, it must be in \[0.98, 1\]"),
    ],
)
def test_impossible_wishes_are_refused(sentences, options, message):
    with pytest.raises(UserError, match=message):
        train_tokenizer(sentences["train"], options)


def test_long_lines_are_trained_on(sentences, directory):
    """sentencepiece would drop them, without a word."""
    line = " ".join(sentences["train"])
    assert len(line) > 2 * LONGEST_LINE
    tokenizer = train_tokenizer([line], TokenizerOptions(VOCABULARY))
    scores = dict(json.loads(tokenizer.backend_tokenizer.to_str())["model"]["vocab"])
    expected = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert len(scores.keys() & dict(expected).keys()) > 0.9 * VOCABULARY


def test_a_word_of_any_length_is_cut_and_named(caplog):
    text = [f"a {'xy' * 500_000} b", "a short line"]
    parts = list(short_lines(text))
    assert max(map(len, parts)) <= LONGEST_LINE + LONGEST_WORD + 1 and parts[-1] == text[-1]
    assert "".join("".join(parts).split()) == "".join("".join(text).split())
    assert len(train_tokenizer(text, TokenizerOptions(20))) == 20
    assert caplog.messages == ["1 words of more than 1024 characters are cut; is that text?"]


def test_a_full_disk(sentences, tmp_path):
    tokenizer = train_tokenizer(sentences["train"], TokenizerOptions(VOCABULARY))
    message = f"^{tmp_path / 'new'}: File too large; make room or choose another place"
    with largest_file(2000), pytest.raises(UserError, match=message):
        save_tokenizer(tokenizer, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_directory_and_names_what_is_wrong(tmp_path, sentences, capsys):
    text, output = tmp_path / "text", tmp_path / "tokenizer"
    text.write_text("\n".join(sentences["train"]), encoding="utf-8")
    flags = ["train-tokenizer", "--vocab-size", "200", "--output", str(output), "--input"]
    (tmp_path / "empty").write_text("\n \n")
    assert main([*flags, str(tmp_path / "empty")]) == 2
    assert "no text in" in capsys.readouterr().err
    (tmp_path / "latin1").write_bytes("schön\n".encode("latin-1"))
    assert main([*flags, str(tmp_path / "latin1")]) == 2
    assert "latin1, line 1: byte 4 (0xf6) is not UTF-8" in capsys.readouterr().err
    assert not output.exists()
    assert main([*flags, str(text)]) == 0
    assert "200 pieces" in capsys.readouterr().out
    assert main([*flags, str(text)]) == 2
    assert "tokenizer is not empty; give a new directory" in capsys.readouterr().err
