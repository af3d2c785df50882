"""TinyBERT's augmentation against a model asked one word at a time, on tiny models of three tokenizers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import write_encoder
from tiny_tokenizers import training_lines, write_byte_level, write_sentencepiece, write_wordpiece
from transformers import AutoModelForMaskedLM

from cmlm_kd.augmentation.masked_words import MaskedWord, MaskedWords, piece_words
from cmlm_kd.augmentation.mlm_replacement import MlmReplacement, ReplacementOptions
from cmlm_kd.augmentation.neighbours import PieceNeighbours, VectorNeighbours
from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.models.masked_lm import MaskedLM
from cmlm_kd.tokenization.pieces import PieceTokenizer

KINDS = ("wordpiece", "bytelevel", "sentencepiece")
SENTENCES = [
    "Two young men are standing on the street, and they listen to music.",
    "nobody asks the time of three years",
    "Die Musik (in 1998) cost 3.50 [MASK] and didn't well-known!",
    "",
]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    lines, folder = training_lines(), tmp_path_factory.mktemp("models")
    write_wordpiece(folder / "wordpiece", lines, lowercase=True)
    write_byte_level(folder / "bytelevel", lines, add_prefix_space=False)
    write_sentencepiece(folder / "sentencepiece", lines)
    for kind, family in zip(KINDS, ("bert", "roberta", "xlm-roberta"), strict=True):
        size = len(PieceTokenizer.from_pretrained(str(folder / kind)))
        pad = {"pad_token_id": 1} if family != "bert" else {"type_vocab_size": 2}
        write_encoder(
            folder / kind, family, vocab_size=size, max_position_embeddings=64, **{"seed": 3, **pad}
        )
    return folder


def load(folder, **options):
    return MlmReplacement.from_pretrained(str(folder), ReplacementOptions(**options), device=CPU)


def one_at_a_time(replacement, hugging_face, masked):
    """Ask the Hugging Face model itself: one row, all positions, float32."""
    tokenizer = replacement.masked_words.tokenizer
    special, pieces = tokenizer.special, masked.tokens.tolist()
    hidden = [special.mask if i == masked.position else piece for i, piece in enumerate(pieces)]
    row, types = [special.cls, *hidden, special.sep], [0] * (len(pieces) + 2)
    if replacement.options.mode == "original":
        row += [special.sep] * (tokenizer.separators - 1) + [*pieces, special.sep]
        types += [0] * (tokenizer.separators - 1) + [1] * (len(pieces) + 1)
    inputs = {"input_ids": torch.tensor([row])}
    if replacement.masked_words.has_token_types:
        inputs["token_type_ids"] = torch.tensor([types])
    with torch.no_grad():
        logits = hugging_face(**inputs).logits[0, 1 + masked.position]
    best = logits.topk(replacement.options.candidates).indices.tolist()
    words = piece_words(tokenizer)
    return [words[i] for i in best if words[i] is not None]


@pytest.mark.parametrize("mode", ["original", "paper"])
@pytest.mark.parametrize("kind", KINDS)
def test_batches_predict_what_the_model_predicts_one_word_at_a_time(models, kind, mode):
    replacement = load(models / kind, mode=mode, max_tokens=150)
    generator = np.random.default_rng(0)
    size = len(replacement.masked_words.tokenizer)
    masked = [
        MaskedWord(generator.integers(5, size, n), int(generator.integers(n))) for n in (3, 20, 1, 9, 9)
    ]
    found = replacement.masked_words.candidates(masked)
    itself = AutoModelForMaskedLM.from_pretrained(models / kind, dtype=torch.float32).eval()
    assert found == [one_at_a_time(replacement, itself, word) for word in masked]
    assert any(found)


@pytest.mark.parametrize("kind", KINDS)
def test_which_words_are_replaced_and_by_whom(models, kind):
    replacement = load(models / kind)
    tokenizer = replacement.masked_words.tokenizer
    asked = {"masked": [], "rare": []}

    class Spy:
        def candidates(self, masked):
            asked["masked"] += [tokenizer.symbol(int(word.tokens[word.position])) for word in masked]
            return [["x"] for _ in masked]

        def nearest(self, words, count):
            asked["rare"] += words
            return [["y"] for _ in words]

    spy = Spy()
    spy.tokenizer, spy.words = tokenizer, replacement.masked_words.words
    replacement.masked_words = replacement.neighbours = spy
    found = replacement.replaceable(SENTENCES)
    changed = {
        word: words[0]
        for sentence in found
        for word, words in zip(sentence.words, sentence.candidates, strict=True)
        if words
    }
    expected = "Two young men standing street listen music asks time three years Die Musik cost"
    assert set(changed) == set(
        expected.split()
    )  # neither "the" and "nobody" nor "1998", "[MASK]", "didn't", "well-known"
    for word, by in changed.items():
        pieces = tokenizer.encode_batch([word])[0].teacher_ids
        assert by.lower() == ("x" if len(pieces) == 1 else "y")
        assert by[0].isupper() == word[0].isupper()
    assert len(asked["masked"]) and len(asked["rare"]) == len(set(asked["rare"]))
    assert found[3].words == []


@pytest.mark.parametrize("kind", KINDS)
def test_variants_are_new_distinct_and_the_same_for_a_seed(models, kind):
    def run(seed):
        return list(load(models / kind, seed=seed, iterations=6).augmented(SENTENCES))

    first = run(1)
    assert first == run(1) != run(2)
    twice = list(load(models / kind, seed=1, iterations=6).augmented([*SENTENCES, SENTENCES[0]]))
    assert len({texts for _, texts in twice}) == len(twice)
    texts = [text for _, (text,) in first]
    assert len(set(texts)) == len(texts) and not set(texts) & set(SENTENCES)
    rows = [row for row, _ in first]
    assert rows == sorted(rows) and set(rows) <= {0, 1, 2} and max(rows.count(row) for row in rows) <= 6
    assert all("(in 1998)" in text and "[MASK]" in text for row, (text,) in first if row == 2)


def test_of_a_pair_one_side_changes(models):
    second = ["Two women are walking.", "they like music", "young men", "the street"]
    found = list(load(models / "wordpiece", iterations=4).augmented(SENTENCES, second))
    assert {row for row, (a, _) in found if a != SENTENCES[row]} == {0, 1, 2}
    assert {row for row, (_, b) in found if b != second[row]} == {0, 1, 2, 3}
    assert all((a == SENTENCES[row]) != (b == second[row]) for row, (a, b) in found)


def test_probabilities_at_their_ends(models):
    assert list(load(models / "wordpiece", replace=0.0).augmented(SENTENCES)) == []
    replacement = load(models / "wordpiece", replace=1.0, iterations=3)
    possible = replacement.replaceable(SENTENCES[:1])[0]
    for _, (text,) in replacement.augmented(SENTENCES[:1]):
        words = text.replace(",", " ,").rstrip(".").split()
        for word, original, candidates in zip(words, possible.words, possible.candidates, strict=False):
            assert word in candidates if candidates else word == original


def test_a_sentence_longer_than_the_model_is_seen_around_the_word(models):
    replacement = load(models / "wordpiece")
    pieces = np.arange(5, 205)
    for position in (0, 100, 199):
        row, place, second = replacement.masked_words._row(MaskedWord(pieces, position))
        assert len(row) <= 64 and row[place] == replacement.masked_words.tokenizer.special.mask
        neighbour = place + 1 if position < 199 else place - 1
        assert row[neighbour] == pieces[position + 1 if position < 199 else position - 1]
        assert row[second - 1] == replacement.masked_words.tokenizer.special.sep
    assert replacement.masked_words.candidates([MaskedWord(pieces, 199)])[0]


def test_bfloat16_agrees_mostly(models):
    pieces = [MaskedWord(np.random.default_rng(i).integers(5, 400, 12), 4) for i in range(8)]
    exact, rounded = (
        load(models / "wordpiece", bf16_autocast=bf16).masked_words.candidates(pieces)
        for bf16 in (False, True)
    )
    shared = [len(set(a) & set(b)) / max(len(a), 1) for a, b in zip(exact, rounded, strict=True)]
    assert sum(shared) / len(shared) > 0.8


def test_neighbours_by_cosine(tmp_path):
    vectors = {"good": (2, 0.2), "fine": (9, 1), "bad": (-1, 0), "up": (0, 1), "Good": (0, -1)}
    path = tmp_path / "vectors.txt"
    path.write_text("".join(f"{word} {a} {b}\n" for word, (a, b) in vectors.items()))
    neighbours = VectorNeighbours.read(path)
    assert neighbours.nearest(["good", "FINE", "none", "Good"], 2) == [
        ["good", "fine"],
        ["fine", "good"],
        [],
        ["Good", "bad"],
    ]
    assert VectorNeighbours.read(path, limit=2).words == ["good", "fine"]
    assert len(neighbours.nearest(["up"], 99)[0]) == 5


def test_neighbours_in_the_models_own_embeddings(models):
    tokenizer = PieceTokenizer.from_pretrained(str(models / "wordpiece"))
    words = piece_words(tokenizer)
    rare = next(
        text for text in ("unmusical", "streetman", "timeless") if len(tokenizer.encode(text).teacher_ids) > 1
    )
    ids = tokenizer.encode(rare).teacher_ids
    near = next(i for i, word in enumerate(words) if word and word.isalpha() and i not in ids)
    embeddings = torch.randn(len(tokenizer), 8, generator=torch.Generator().manual_seed(0))
    embeddings[near] = 3 * embeddings[ids].mean(0)
    found = PieceNeighbours(tokenizer, embeddings).nearest([rare, "☃", ""], 4)
    assert found[0][0] == words[near] and len(found[0]) == 4 and found[1:] == [[], []]
    assert not {words[i] for i in ids} & set(found[0])


def test_pieces_that_are_words(models):
    words = {kind: piece_words(PieceTokenizer.from_pretrained(str(models / kind))) for kind in KINDS}
    for kind in KINDS:
        assert "the" in words[kind] and "[MASK]" not in words[kind] and "<mask>" not in words[kind]
        assert not [word for word in words[kind] if word and (word.startswith("##") or "▁" in word)]
        assert not [word for word in words[kind] if word and "<0x" in word]


def test_refusals(models, tmp_path):
    write_wordpiece(tmp_path, training_lines(), lowercase=True)
    size = len(PieceTokenizer.from_pretrained(str(tmp_path)))
    write_encoder(tmp_path, "bert", head=False, vocab_size=size)
    with pytest.raises(UserError, match="no masked-LM head"):
        load(tmp_path)
    write_encoder(tmp_path, "bert", vocab_size=size - 1)
    with pytest.raises(UserError, match=f"the tokenizer has {size} tokens"):
        load(tmp_path)
    write_encoder(tmp_path, "bert", vocab_size=size, max_position_embeddings=4)
    with pytest.raises(UserError, match="4 positions has no room"):
        load(tmp_path)
    empty = Path(tmp_path / "vectors.txt")
    empty.write_text("")
    with pytest.raises(UserError, match="empty"):
        VectorNeighbours.read(empty)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": 0}, "--iterations is 0"),
        ({"candidates": 0}, "--candidates is 0"),
        ({"max_tokens": 0}, "--max-tokens is 0"),
        ({"replace": 1.5}, r"--replace is 1.5; give a probability, in \[0, 1\]"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(UserError, match=message):
        ReplacementOptions(**settings)


@pytest.mark.real
def test_a_real_model_finds_words_that_fit(shared_dir):
    folder = shared_dir / "models" / "bert-tiny-mlm-en"
    replacement = MlmReplacement(
        MaskedWords(
            MaskedLM.from_pretrained(str(folder), with_head=True),
            PieceTokenizer.from_pretrained(str(folder)),
            count=15,
            see_original=True,
            max_tokens=4096,
            bf16_autocast=False,
            device=CPU,
        ),
        VectorNeighbours(["x"], np.ones((1, 2), np.float32)),
        ReplacementOptions(),
    )
    found = replacement.replaceable(["the capital of france is a big city ."])[0]
    assert [bool(words) for words in found.candidates] == [
        False,
        True,
        False,
        True,
        False,
        False,
        True,
        True,
        False,
    ]
    assert "city" in found.candidates[1] + found.candidates[7]


def test_the_command(models, tmp_path, capsys):
    (tmp_path / "train.tsv").write_text("Two young men listen to music\tgood\nnobody asks the time\tbad\n")
    glove = tmp_path / "glove.txt"
    glove.write_text("young 1 0\nold 1 0.1\nmen 0 1\n")

    def run(output, *flags):
        arguments = ["augment", str(tmp_path), "--corpus", "text", "--method", "mlm", "--iterations", "3"]
        model = ["--model", str(models / "wordpiece"), "--vectors", str(glove), "--device", "cpu"]
        return main([*arguments, "--output", str(output), *model, *flags])

    assert run(tmp_path / "a.tsv") == 0
    lines = (tmp_path / "a.tsv").read_text().splitlines()
    texts = [line.split("\t")[0] for line in lines]
    assert texts[:2] == ["Two young men listen to music", "nobody asks the time"]
    assert 3 <= len(texts) <= 8 and len(set(texts)) == len(texts)
    assert all(line.endswith("\tgood" if " to " in line else "\tbad") for line in lines)
    assert f"and {len(texts) - 2} new ones" in capsys.readouterr().out
    assert run(tmp_path / "b.tsv", "--seed", "1") == 0
    assert (tmp_path / "b.tsv").read_text() == (tmp_path / "a.tsv").read_text()
    assert run(tmp_path / "c.tsv", "--replace", "2") == 2
    assert "--replace is 2.0; give a probability, in [0, 1]" in capsys.readouterr().err
    assert run(tmp_path / "c.tsv", "--model", "") == 2
    assert "--model is missing" in capsys.readouterr().err
    assert not (tmp_path / "c.tsv").exists()
