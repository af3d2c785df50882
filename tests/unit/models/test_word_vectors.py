"""Word vectors from text, matrices and teachers, and what is wrong with a file, by its line."""

import gzip

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_classification import write_bert
from tiny_encoders import write_encoder
from tiny_tokenizers import training_lines, write_byte_level, write_wordpiece

from cmlm_kd.errors import UserError
from cmlm_kd.models.word_vectors import UNKNOWN_RANGE, first_words, teacher_word_vectors, word_vectors
from cmlm_kd.tokenization.loading import load_tokenizer
from cmlm_kd.tokenization.words import PAD, UNKNOWN, WordVocabulary

GLOVE = "the 1 2 3\n. . 4 5 6\ndog -7e-1 8 9\nthe 9 9 9\nBerlin 1 1 1\nberlin 2 2 2\n"


@pytest.fixture
def vocabulary():
    return WordVocabulary([PAD, UNKNOWN, "dog", "xyzzy", "the", "Berlin", "DOG"], lowercase=False)


def check(vectors):
    rows = vectors.matrix.tolist()
    assert vectors.found == 4 and vectors.matrix.dtype == torch.float32
    assert rows[0] == [0, 0, 0]
    assert rows[2] == rows[6] == pytest.approx([-0.7, 8, 9])  # DOG as dog
    assert rows[4] == [1, 2, 3] and rows[5] == [1, 1, 1]  # the first the; Berlin before berlin
    for unknown in (1, 3):
        assert 0 < max(map(abs, rows[unknown])) <= UNKNOWN_RANGE


@pytest.mark.parametrize("header", ["", "6 3\n"])
def test_text(tmp_path, vocabulary, header):
    path = tmp_path / "v.txt"
    path.write_text(header + GLOVE)
    check(word_vectors(path, vocabulary))
    assert first_words(path, 3) == ["the", ". .", "dog"] and len(first_words(path, 99)) == 6


def test_gzipped_text(tmp_path, vocabulary):
    with gzip.open(tmp_path / "v.txt.gz", "wt") as file:
        file.write(GLOVE)
    check(word_vectors(tmp_path / "v.txt.gz", vocabulary))


def write_matrix(tmp_path, matrix, words):
    np.save(tmp_path / "v.npy", matrix)
    (tmp_path / "v.txt").write_text("".join(f"{word}\n" for word in words))
    return tmp_path / "v.npy"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_matrix(tmp_path, dtype):
    rows = np.arange(6, dtype=dtype).reshape(3, 2)
    path = write_matrix(tmp_path, rows, ["a", "b c", "d"])
    vectors = word_vectors(path, WordVocabulary([PAD, UNKNOWN, "d", "a"]))
    assert vectors.matrix[2:].tolist() == [[4, 5], [0, 1]] and vectors.found == 2


def test_seeds_decide_unknown_words(tmp_path, vocabulary):
    path = tmp_path / "v.txt"
    path.write_text(GLOVE)
    one, again, other = (
        word_vectors(path, vocabulary, torch.Generator().manual_seed(seed)).matrix for seed in (1, 1, 2)
    )
    assert torch.equal(one, again) and not torch.equal(one[1], other[1]) and torch.equal(one[2], other[2])


@pytest.mark.parametrize(
    "content, message",
    [
        ("the 1 2 3\ndog 1 2\n", r"v.txt, line 2: 3 columns, where a word and 3 numbers should be"),
        ("6 3\nthe 1 2 3\ndog\n", r"v.txt, line 3: 1 columns"),
        ("the\n", r"v.txt, line 1: 1 columns, where a word and 1 numbers"),
        ("the 1 2 3\ndog 1 x 3\n", r"v.txt, line 2: could not convert string to float: 'x'"),
        ("the 1 2 3\ndog 1 nan 3\n", r"v.txt, line 2 has a number that is not finite"),
        ("", r"v.txt is empty"),
        ("zebra 1 2 3\n", r"a vector for none of the 5 words .* such as dog, xyzzy, the; give vectors of"),
    ],
)
def test_damaged_text(tmp_path, vocabulary, content, message):
    (tmp_path / "v.txt").write_text(content)
    with pytest.raises(UserError, match=message):
        word_vectors(tmp_path / "v.txt", vocabulary)


def test_text_that_is_not_utf8_or_not_there(tmp_path, vocabulary):
    (tmp_path / "v.txt").write_bytes(b"the 1 2\nd\xf6g 1 2\n")
    with pytest.raises(UserError, match=r"v.txt, line 2: byte 2"):
        word_vectors(tmp_path / "v.txt", vocabulary)
    with pytest.raises(UserError, match=r"none.txt does not exist"):
        word_vectors(tmp_path / "none.txt", vocabulary)


def test_damaged_matrices(tmp_path, vocabulary):
    path = write_matrix(tmp_path, np.zeros((2, 3), np.float32), ["dog"])
    with pytest.raises(UserError, match=r"v.npy has 2 rows, .*v.txt has 1 words"):
        word_vectors(path, vocabulary)
    for wrong in (np.zeros(3), np.zeros((1, 3), np.int64)):
        with pytest.raises(UserError, match="a matrix of floating point numbers"):
            word_vectors(write_matrix(tmp_path, wrong, ["dog"]), vocabulary)
    with pytest.raises(UserError, match=r"v.npy, row 1 has a number that is not finite"):
        word_vectors(write_matrix(tmp_path, np.full((1, 3), np.inf), ["dog"]), vocabulary)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match="cannot be read"):
        word_vectors(path, vocabulary)
    (tmp_path / "v.txt").unlink()
    with pytest.raises(UserError, match=r"needs its words beside it, one per line, in v.txt"):
        word_vectors(path, vocabulary)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_teachers_own_embeddings(tmp_path, family):
    if family == "bert":
        write_wordpiece(tmp_path, training_lines(), lowercase=True)
    else:
        write_byte_level(tmp_path, training_lines(), add_prefix_space=False)
    tokenizer = load_tokenizer(str(tmp_path))
    model = write_encoder(tmp_path, family, vocab_size=len(tokenizer))
    table = model.get_input_embeddings().weight.detach()
    vocabulary = WordVocabulary([PAD, UNKNOWN, "the", "listening", "\u4e2d"])
    vectors = teacher_word_vectors(str(tmp_path), vocabulary)
    for row, word in ((2, "the"), (3, "listening")):
        # As the word is cut inside a sentence, the two special tokens around it apart.
        pieces = tokenizer("on " + word)["input_ids"][len(tokenizer("on")["input_ids"]) - 1 : -1]
        torch.testing.assert_close(vectors.matrix[row], table[pieces].mean(0))
    assert not vectors.matrix[0].any()
    assert vectors.found == (2 if family == "bert" else 3)  # bytes spell everything


def test_teachers_that_cannot_serve(tmp_path):
    write_wordpiece(tmp_path, training_lines(), lowercase=True)
    vocabulary = WordVocabulary([PAD, UNKNOWN, "the"])
    with pytest.raises(UserError, match="cannot load word embeddings from"):
        teacher_word_vectors(str(tmp_path), vocabulary)
    write_encoder(tmp_path, vocab_size=30)
    with pytest.raises(UserError, match=r"has \d+ tokens, the model embeds 30"):
        teacher_word_vectors(str(tmp_path), vocabulary)
    write_encoder(tmp_path, vocab_size=len(load_tokenizer(str(tmp_path))))
    with pytest.raises(UserError, match="knows none of the words"):
        teacher_word_vectors(str(tmp_path), WordVocabulary([PAD, UNKNOWN, "\u4e2d"]))


def test_a_teacher_without_its_embeddings(tmp_path, vocabulary):
    """transformers makes random ones."""
    folder = write_bert(tmp_path / "bert", labels=None, layers=1)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "word_embeddings" in name)
    save_file({key: weight for key, weight in weights.items() if key != name}, folder / "model.safetensors")
    with pytest.raises(UserError, match="no weights for 1 tensors of word embeddings, such as"):
        teacher_word_vectors(str(folder), vocabulary)


@pytest.mark.real
def test_a_real_teachers_neighbours(shared_dir):
    words = ["king", "queen", "banana", "apple", "monday", "tuesday"]
    teacher = str(shared_dir / "models" / "minilm-l6-en")
    matrix = teacher_word_vectors(teacher, WordVocabulary([PAD, UNKNOWN, *words])).matrix[2:]  # (6, e)
    unit = matrix / matrix.norm(dim=1, keepdim=True)
    similar = (unit @ unit.T).fill_diagonal_(-1).argmax(1)
    assert similar.tolist() == [1, 0, 3, 2, 5, 4]
