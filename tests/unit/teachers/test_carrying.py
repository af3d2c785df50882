"""Distributions in another vocabulary, beside exact marginalisation of a toy language by enumeration."""

import itertools
from collections import defaultdict

import numpy as np
import pytest
import torch

from cmlm_kd.teachers.carrying import Carrier
from cmlm_kd.tokenization.spelled_bytes import END


def cut(text, spelled):
    """Return the tokens of a text by longest match, and the end of sentence."""
    by_length = sorted(range(len(spelled)), key=lambda number: -len(spelled[number]))
    tokens = []
    text += END
    while text:
        token = next(number for number in by_length if text.startswith(spelled[number]))
        tokens.append(token)
        text = text[len(spelled[token]) :]
    return tuple(tokens)


class Language:
    """Sentences with probabilities, and what follows each beginning in the tokens of a vocabulary."""

    def __init__(self, sentences, seed=0):
        weights = np.random.default_rng(seed).dirichlet(np.full(len(sentences), 0.7))
        self.probability = dict(zip(sentences, weights, strict=True))

    def following(self, spelled):
        """Return beginning -> ``(V,)`` distribution of the next token, by going through all sentences."""
        masses = defaultdict(lambda: np.zeros(len(spelled)))
        for text, probability in self.probability.items():
            tokens = cut(text, spelled)
            for place, token in enumerate(tokens):
                masses[tokens[:place]][token] += probability
        return {beginning: mass / mass.sum() for beginning, mass in masses.items()}


def compare(language, teacher, student):
    """Return, for every token of every sentence, what was carried, what is outside and what is right."""
    carrier = Carrier(student, teacher)
    told, right = language.following(teacher), language.following(student)
    for text in language.probability:
        tokens, entries = cut(text, teacher), cut(text, student)
        assert carrier.agree(tokens, entries)
        probs = torch.tensor(np.stack([told[tokens[:place]] for place in range(len(tokens))]))
        carried, outside = carrier.carry(probs, tokens, entries)
        assert carried.shape == (len(entries), len(student)) and (carried >= 0).all()
        np.testing.assert_allclose(carried.sum(1) + outside, 1, atol=1e-5)
        for place, entry in enumerate(entries):
            yield entry, carried[place], outside[place], right[entries[:place]]


WORDS = ["walk", "walks", "walking", "talk", "talking", "king", "sing", "sings", "a"]
SENTENCES = [f" {' '.join(pair)}".encode() for pair in itertools.product(WORDS, WORDS[:5])] + [
    f" {word}".encode() for word in WORDS
]
LETTERS = [bytes([letter]) for letter in sorted(set(b"".join(SENTENCES)))]
WHOLE = [f" {word}".encode() for word in WORDS]


def test_a_teacher_of_whole_words_and_a_student_of_parts():
    """All is exact but what follows a shorter word of the teacher that the sentence has gone past."""
    student = [END, *LETTERS, b" walk", b"ing", b" s", b" tal"]
    whole = 0
    for entry, carried, outside, right in compare(Language(SENTENCES), [END, *WHOLE, *LETTERS], student):
        assert carried[entry] == pytest.approx(right[entry], abs=1e-5)
        assert (carried <= right + 1e-5).all()
        np.testing.assert_allclose(outside, (right - carried).sum(), atol=1e-5)
        whole += outside < 1e-5
    assert whole > 200


def test_a_teacher_of_parts_and_a_student_of_whole_words():
    """The gold token is exact by the chain rule; of the others what one step tells."""
    teacher = [END, *LETTERS, b" walk", b"ing", b" s", b" tal"]
    for entry, carried, outside, right in compare(Language(SENTENCES), teacher, [END, *WHOLE, *LETTERS]):
        assert carried[entry] == pytest.approx(right[entry], abs=1e-5)
        assert outside < 1


def parts_of_words(seed):
    """Return a vocabulary of letters and some parts of words, none of which goes over a space."""
    generator = np.random.default_rng(seed)
    parts = {word[i : i + n] for word in WHOLE for n in (2, 3, 5) for i in range(len(word) - n + 1)}
    return [END, *LETTERS, *generator.choice(sorted(parts), 12, replace=False).astype(object)]


def test_an_error_where_the_next_token_does_not_decide():
    """Whether the student ends its token may take several tokens of the teacher to see."""
    gold, distances = [], []
    for seed in range(6):
        vocabularies = parts_of_words(seed), parts_of_words(seed + 100)
        for entry, carried, outside, right in compare(Language(SENTENCES, seed), *vocabularies):
            gold.append(abs(carried[entry] - right[entry]))
            distances.append((np.abs(carried - right).sum() + outside) / 2)
    assert np.mean(np.array(gold) < 1e-5) > 0.75 and np.mean(gold) < 0.06
    assert np.mean(distances) < 0.22, "total variation; what is outside counts as wrong"


def test_another_path_to_the_same_text_counts():
    """A teacher that may say 'walking' at once or in two: both lead the student to 'walk'."""
    teacher, student = [END, b" walk", b"ing", b" walking", b" run"], [END, b" walk", b"ing", b" run"]
    probs = torch.tensor([[0.0, 0.5, 0, 0.3, 0.2], [0.4, 0, 0.6, 0, 0], [1.0, 0, 0, 0, 0]])
    carried, outside = Carrier(student, teacher).carry(probs, (1, 2, 0), (1, 2, 0))
    np.testing.assert_allclose(carried[0], [0, 0.8, 0, 0.2], atol=1e-6)
    np.testing.assert_allclose(carried[1], [0.2 / 0.8, 0, 0.6 / 0.8, 0], atol=1e-6)
    # What follows " walking", said at once, nobody has asked the teacher: 0.3 of 0.6 are unknown.
    np.testing.assert_allclose(carried[2], [0.5, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(outside, [0, 0, 0.5], atol=1e-6)


def test_the_rest_of_a_spanned_token_is_outside():
    teacher, student = [END, b" walk", b"ing", b"ed", b" run"], [END, b" walking", b" walked", b" run"]
    probs = torch.tensor([[0.0, 0.7, 0, 0, 0.3], [0.1, 0, 0.6, 0.3, 0], [1.0, 0, 0, 0, 0]])
    carried, outside = Carrier(student, teacher).carry(probs, (1, 2, 0), (1, 0))
    np.testing.assert_allclose(carried[0], [0, 0.42, 0, 0.3], atol=1e-6)
    np.testing.assert_allclose(outside, [0.28, 0], atol=1e-6)


def test_text_that_is_spelled_otherwise_is_not_carried():
    carrier = Carrier([END, b" a", None], [END, b" a", b" b", None])
    assert carrier.agree((1, 0), (1, 0))
    for tokens, entries in (((2, 0), (1, 0)), ((3, 0), (1, 0)), ((1, 0), (2, 0))):
        assert not carrier.agree(tokens, entries)


def test_a_long_sentence_that_the_teacher_finds_unlikely():
    """Its probability as a whole, e ** -1381, is no number that there is."""
    spelled = [END, b" a", b" b"]
    probs = torch.tensor([[1e-3, 1e-3, 0.998]]).expand(201, 3)
    tokens = [1] * 200 + [0]
    carried, outside = Carrier(spelled, spelled).carry(probs, tokens, tokens)
    np.testing.assert_allclose(carried, probs, rtol=1e-5)
    np.testing.assert_allclose(outside, 0, atol=1e-6)


def test_a_token_that_the_teacher_rules_out():
    """Its next distribution is known all the same, also after another path has said the same text."""
    spelled = [END, b" a", b" b"]
    probs = torch.tensor([[0.2, 0, 0.8], [0.1, 0.6, 0.3], [1.0, 0, 0]])
    carried, outside = Carrier(spelled, spelled).carry(probs, (1, 2, 0), (1, 2, 0))
    np.testing.assert_allclose(carried, probs, atol=1e-7)
    np.testing.assert_allclose(outside, 0, atol=1e-7)
    # The student's " b" is said by " ba" too, and what follows that is not known.
    probs = torch.tensor([[0, 1e-30, 1.0], [1.0, 0, 0]])
    carried, outside = Carrier([END, b" b", b"a"], [END, b" b", b" ba"]).carry(probs, (1, 0), (1, 0))
    np.testing.assert_allclose(carried[:, 1:], [[1, 0], [0, 1]])
    assert carried[1, 0] == pytest.approx(1e-30, rel=1e-4)


def test_a_token_that_the_teacher_rules_out_within_one_of_its_own():
    """Nothing else is known there, and a store has a number for an entry of each token."""
    student, teacher = [END, b" wal", b"king"], [END, b" walk", b"ing", b"s"]
    probs = torch.tensor([[0, 1.0, 0, 0], [0.0, 0, 0, 1], [1.0, 0, 0, 0]])
    carried, outside = Carrier(student, teacher).carry(probs, (1, 2, 0), (1, 2, 0))
    assert 0 < carried[1, 2] < 1e-30 and carried[1].argmax() == 2 and outside[1] == 1
    assert np.isfinite(np.log(carried[1, 2]).astype(np.float32))
    np.testing.assert_allclose(carried[[0, 2]], [[0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize("seed", range(4))
def test_a_teacher_whose_text_begins_without_a_space(seed):
    """It says the same as one that has each token with a space before it, too, and says these first."""
    student = parts_of_words(seed)
    teacher = [*parts_of_words(seed + 100), *(word.strip() for word in WHOLE), b"walking sing"]
    spaced = [text if text.startswith((b" ", END)) else b" " + text for text in teacher]
    unspaced, twice = Carrier(student, teacher), Carrier(student, [*teacher, *spaced])
    generator = np.random.default_rng(seed)
    for text in SENTENCES:
        tokens, entries = cut(text[1:], teacher), cut(text, student)
        assert not unspaced.agree(tokens, entries) and unspaced.agree(tokens, entries, unspaced=True)
        probs = torch.from_numpy(generator.dirichlet(np.full(len(teacher), 0.1), len(tokens)))
        none = torch.zeros_like(probs)
        first = torch.cat([none, probs], 1)[:1]
        as_if = torch.cat([first, torch.cat([probs, none], 1)[1:]])
        found = unspaced.carry(probs, tokens, entries, unspaced=True)
        wanted = twice.carry(as_if, (tokens[0] + len(teacher), *tokens[1:]), entries)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-9)
