"""Masking, replacement by part of speech and n-grams: probabilities, determinism, no example twice."""

import random
from collections import Counter

import pytest

from cmlm_kd.augmentation.parts_of_speech import (
    TaggedSentence,
    WordsByTag,
    load_tagger,
    no_tags,
    tag_sentence,
)
from cmlm_kd.augmentation.rules import Augmentation, Rules, changed_sentence, joined
from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.tokenization.words import join_words, split_with_spacing, split_words

TAGS = {"the": "D", "a": "D", "dog": "N", "cat": "N", "house": "N", "sees": "V", "likes": "V", ".": "P"}
TEXTS = ["The dog sees the cat.", "A cat likes the house.", "the dog likes a dog."]


def lexicon_tagger(words):
    return [TAGS[word.lower()] for word in words]


@pytest.fixture
def corpus():
    return [tag_sentence(text, lexicon_tagger) for text in TEXTS]


def many(corpus, rules, count=4000, seed=5):
    draw = random.Random(seed).random
    table = WordsByTag(corpus)
    return [changed_sentence(corpus[0], table, rules, draw) for _ in range(count)]


def test_words_and_their_spacing_give_the_text_back(corpus):
    assert [joined(sentence) for sentence in corpus] == TEXTS
    assert corpus[0].words == ["The", "dog", "sees", "the", "cat", "."]
    assert joined(tag_sentence("  The   dog.\u00a0The cat ", lexicon_tagger)) == "The dog. The cat"


def test_without_probabilities_nothing_changes(corpus):
    assert set(many(corpus, Rules(mask=0, replace=0, ngram=0), 20)) == {TEXTS[0]}


def test_each_word_is_hidden_with_its_probability(corpus):
    texts = many(corpus, Rules(mask=0.3, replace=0, ngram=0))
    for position, word in enumerate(corpus[0].words):
        hidden = sum(tag_sentence(text, no_tags).words[position] == "[MASK]" for text in texts)
        assert abs(hidden / len(texts) - 0.3) < 0.03, word
    assert len(set(texts)) == 2**6


def test_words_are_replaced_as_often_as_their_part_of_speech_has_them(corpus):
    texts = many(corpus, Rules(mask=0, replace=1, ngram=0))
    nouns = Counter(text.split()[1] for text in texts)
    assert set(nouns) == {"dog", "cat", "house"}
    for noun, share in (("dog", 3 / 6), ("cat", 2 / 6), ("house", 1 / 6)):
        assert abs(nouns[noun] / len(texts) - share) < 0.03
    assert {text[-1] for text in texts} == {"."}
    assert all(lexicon_tagger(tag_sentence(text, no_tags).words) == corpus[0].tags for text in texts)


def test_new_words_stay_apart_from_those_they_touch():
    """What tells "and/or" or "isn't" apart goes with the word that is replaced."""
    cases = {
        "benign and/or": ["benign", "and", "which", "or"],
        "it isn't": ["it", "is", "not"],
        "good/bad film": ["good", "-", "bad", "film"],
    }
    for text, words in cases.items():
        former, spacing = split_with_spacing(text)
        assert join_words(former, spacing, former) == text
        assert split_words(join_words(words, spacing, former)) == words
    former, spacing = split_with_spacing("isn't it?")
    assert join_words(["[MASK]", "n't", "he", "?"], spacing, former) == "[MASK]n't he?"


def test_mask_and_replacement_exclude_each_other(corpus):
    texts = many(corpus, Rules(mask=0.5, replace=0.5, ngram=0))
    hidden = sum(tag_sentence(text, no_tags).words[1] == "[MASK]" for text in texts)
    assert abs(hidden / len(texts) - 0.5) < 0.03


def test_ngrams(corpus):
    texts = many(corpus, Rules(mask=0, replace=0, ngram=0.5, longest_ngram=5))
    whole = sum(text == TEXTS[0] for text in texts)
    assert abs(whole / len(texts) - 0.5) < 0.03
    grams = [tag_sentence(text, no_tags).words for text in texts if text != TEXTS[0]]
    lengths = Counter(map(len, grams))
    assert set(lengths) == {1, 2, 3, 4, 5}
    assert all(abs(count / len(grams) - 0.2) < 0.03 for count in lengths.values())
    words = corpus[0].words
    runs = {tuple(words[i : i + n]) for n in range(1, 6) for i in range(len(words) - n + 1)}
    assert {tuple(gram) for gram in grams} == runs  # each of them, the last one too, and nothing else
    assert all(text == text.strip() for text in texts)


def test_a_sentence_shorter_than_the_ngram_stays(corpus):
    short = TaggedSentence(["dog"], [""], ["N"])
    draw = random.Random(1).random
    rules = Rules(mask=0, replace=0, ngram=1)
    assert {changed_sentence(short, WordsByTag(corpus), rules, draw) for _ in range(20)} == {"dog"}


def augment(corpus, second=None, seed=1, iterations=20, **rules):
    return Augmentation(corpus, second, Rules(**rules), iterations, seed)


def test_equal_seeds_give_equal_sentences(corpus):
    assert list(augment(corpus)) == list(augment(corpus)) != list(augment(corpus, seed=2))


def test_the_sequence_is_fixed(corpus):
    # A change here changes every user's augmented corpus.
    assert [text for _, (text,) in augment(corpus, iterations=2)] == FIXED


FIXED = [
    "a dog sees the cat.",
    "[MASK] [MASK] sees the cat[MASK]",
    "A cat likes the [MASK][MASK]",
    "A cat likes the [MASK].",
    "dog likes a dog.",
    "the house likes the dog.",
]


def test_no_sentence_comes_twice(corpus):
    augmentation = augment(corpus, iterations=200)
    texts = [text for _, (text,) in augmentation]
    assert len(set(texts)) == len(texts) and not set(texts) & set(TEXTS)
    assert augmentation.tried == 600 > len(texts) > 100
    assert [source for source, _ in augmentation] == sorted(source for source, _ in augmentation)


def test_of_a_pair_one_side_or_both_are_changed_equally_often(corpus):
    second = corpus[1:] + corpus[:1]
    first_of, second_of = TEXTS, TEXTS[1:] + TEXTS[:1]
    # A word of three is certain to be hidden: what is not changed has not been meant.
    new = list(augment(corpus, second, iterations=1000, mask=0.5, replace=0.1))
    assert len({texts for _, texts in new}) == len(new)
    sides = Counter((a != first_of[row], b != second_of[row]) for row, (a, b) in new)
    assert set(sides) == {(True, False), (False, True), (True, True)}


def test_pairs_are_told_apart_from_their_sentences(corpus):
    # Single sentences that other pairs contain are no reason to drop a pair.
    new = {texts for _, texts in augment(corpus, corpus, iterations=300, mask=0, replace=0, ngram=1)}
    assert ("dog", TEXTS[0]) in new and ("dog", TEXTS[2]) in new


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"mask": -0.1}, r"--mask is -0.1; give a probability, in"),
        ({"replace": 1.5}, r"--replace is 1.5"),
        ({"mask": 0.6, "replace": 0.6}, r"exclude each other"),
        ({"longest_ngram": 0}, r"--longest-ngram is 0"),
        ({"mask_word": " "}, r"--mask-word is ' '"),
        ({"mask_word": "a\tb"}, r"--mask-word"),
    ],
)
def test_rules_out_of_range(settings, message):
    with pytest.raises(UserError, match=message):
        Rules(**settings)


def test_taggers_know_their_language():
    english = load_tagger("hanta-en")(["The", "dog", "sees", "a", "dog"])
    assert len(english) == 5 and english[1] == english[4] != english[0]
    german = load_tagger("hanta-de")(["Der", "Hund", "sieht", "die", "Katze"])
    assert german[1] == german[4] != german[2]


@pytest.mark.parametrize(
    "name, message",
    [
        ("nltk", r"no such tagger; give hanta-en, hanta-de, or MODULE:FUNCTION"),
        ("no.such.module:tag", r"No module named"),
        ("random:no_such_function", r"no_such_function"),
        ("math:pi", r"pi is no function"),
    ],
)
def test_unknown_taggers(name, message):
    with pytest.raises(UserError, match=message):
        load_tagger(name)


def test_a_tagger_that_loses_words():
    with pytest.raises(UserError, match="1 tags for the 2 words"):
        tag_sentence("two words", lambda words: words[:1])


SST2 = "sentence\tlabel\n" + "".join(f"{text}\t{i % 2}\n" for i, text in enumerate(TEXTS))


def run(capsys, *arguments, tagger="lexicon_tagger"):
    status = main(["augment", *map(str, arguments), "--tagger", f"{__name__}:{tagger}"])
    return status, *capsys.readouterr()


def test_command(tmp_path, capsys):
    (tmp_path / "train.tsv").write_text(SST2)
    flags = (tmp_path, "--corpus", "SST-2", "--iterations", 5)
    status, output, _ = run(capsys, *flags, "--output", tmp_path / "a.tsv")
    assert status == 0 and "3 sentences of" in output and "15 tried" in output
    content = (tmp_path / "a.tsv").read_text()
    assert content.startswith(SST2)
    rows = [line.split("\t") for line in content.splitlines()[1:]]
    assert len({text for text, _ in rows}) == len(rows) > 3
    assert run(capsys, *flags, "--output", tmp_path / "b.tsv")[0] == 0
    assert (tmp_path / "b.tsv").read_text() == content


def test_text_without_spaces_between_words(tmp_path, capsys):
    (tmp_path / "train.tsv").write_text("sentence\tlabel\n这部电影很好看\t1\n我不喜欢这个故事\t0\n")
    flags = (tmp_path, "--corpus", "SST-2", "--iterations", 1)
    status, _, note = run(capsys, *flags, "--output", tmp_path / "a.tsv", tagger="no_tags")
    assert status == 0 and "train.tsv is written without spaces between words (Han): here a word is" in note
    (tmp_path / "train.tsv").write_text(SST2)
    assert run(capsys, *flags, "--output", tmp_path / "b.tsv")[2] == ""


def test_command_keeps_labels_of_pairs(tmp_path, capsys):
    rows = [("1", TEXTS[0], TEXTS[1]), ("0", TEXTS[1], TEXTS[2])]
    header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    (tmp_path / "train.tsv").write_text(header + "".join(f"{q}\t1\t2\t{a}\t{b}\n" for q, a, b in rows))
    flags = (tmp_path, "--corpus", "MRPC", "--ngram", 0, "--replace", 0)
    assert run(capsys, *flags, "--output", tmp_path / "new.tsv")[0] == 0
    lines = [line.split("\t") for line in (tmp_path / "new.tsv").read_text().splitlines()]
    written = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    assert len(written) > 10
    for row in written:
        source = [q for q, a, b in rows if fits(a, row["#1 String"]) and fits(b, row["#2 String"])]
        assert source == [row["Quality"]]


def fits(original, masked):
    """Tell whether a text is another one with some words hidden."""
    pairs = zip(tag_sentence(original, no_tags).words, tag_sentence(masked, no_tags).words, strict=False)
    return all(b in (a, "[MASK]") for a, b in pairs)


def test_command_refuses(tmp_path, capsys):
    (tmp_path / "train.tsv").write_text(SST2)
    (tmp_path / "there.tsv").write_text("mine")
    flags = (tmp_path, "--corpus", "SST-2", "--output")
    for more, message in (
        ((tmp_path / "there.tsv",), "there.tsv exists; pass --overwrite"),
        ((tmp_path / "new.tsv", "--iterations", 0), "--iterations is 0"),
        ((tmp_path / "new.tsv", "--mask", 2), "--mask is 2.0"),
        ((tmp_path / "new.tsv", "--train-file", "none.tsv"), "none.tsv does not exist"),
    ):
        status, _, error = run(capsys, *flags, *more)
        assert status == 2 and message in error and error.count("\n") == 1
    assert (tmp_path / "there.tsv").read_text() == "mine" and not (tmp_path / "new.tsv").exists()
    assert run(capsys, *flags, tmp_path / "there.tsv", "--overwrite")[0] == 0
