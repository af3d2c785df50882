"""The BiLSTM student against single steps of an LSTM, its word vectors, and the directory it is saved in."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.data.classification.inputs import pad_batch
from cmlm_kd.errors import UserError
from cmlm_kd.models.bilstm.building import BiLSTMOptions, build_bilstm
from cmlm_kd.models.bilstm.directory import load_bilstm, save_bilstm
from cmlm_kd.models.bilstm.model import BiLSTMClassifier, BiLSTMConfig, WordInputs, compared_states
from cmlm_kd.models.loading import bilstm_of_checkpoint
from cmlm_kd.tokenization.words import WordVocabulary

SENTENCES = ["a dog", "the cat sees the dog .", "", "no no no cat"]
OTHERS = ["the dog sees the cat", "a dog .", "cat", "no"]
SMALL = {"embedding_dim": 5, "hidden_size": 4, "fc_size": 6}


def make_model(*, pair=False, seed=0, max_length=0, **settings):
    vocabulary = WordVocabulary.build(SENTENCES + OTHERS)
    config = BiLSTMConfig(labels=("no", "yes", "maybe"), pair=pair, **{**SMALL, **settings})
    torch.manual_seed(seed)
    return BiLSTMClassifier(config, WordInputs(vocabulary, max_length)).eval()


def batch_of(model, first, second=None):
    return pad_batch(model.inputs.encode(first, second), model.inputs.pad)


def logits_of(model, first, second=None):
    with torch.no_grad():
        return model(**batch_of(model, first, second)).logits


@pytest.mark.parametrize("second", [None, OTHERS])
def test_neither_padding_nor_order_changes_a_result(second):
    model = make_model(pair=second is not None)
    together = logits_of(model, SENTENCES, second)  # (B, C)
    for i in range(len(SENTENCES)):
        alone = logits_of(model, SENTENCES[i : i + 1], second and second[i : i + 1])
        torch.testing.assert_close(alone[0], together[i])
    order = [2, 0, 3, 1]
    mixed = logits_of(model, [SENTENCES[i] for i in order], second and [second[i] for i in order])
    torch.testing.assert_close(mixed, together[order])
    batch = batch_of(model, SENTENCES, second)
    wider = {name: torch.nn.functional.pad(values, (0, 7)) for name, values in batch.items()}
    wider["input_ids"][:, -7:] = 4  # whatever stands in the padding
    torch.testing.assert_close(model(**wider).logits, together)


def states_of(model, sentence):
    """Both directions' last states, one cell step at a time."""
    ids = model.inputs.vocabulary.encode(sentence)
    embedded = torch.cat([channel(torch.tensor(ids)) for channel in model.embeddings.values()], -1)  # (L, e)
    last = []
    for suffix, steps in (("", embedded), ("_reverse", embedded.flip(0))):
        weights = [getattr(model.lstm, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh")]
        biases = [getattr(model.lstm, f"{name}_l0{suffix}") for name in ("bias_ih", "bias_hh")]
        hidden = cell = torch.zeros(model.config.hidden_size)
        for step in steps:
            gates = weights[0] @ step + weights[1] @ hidden + biases[0] + biases[1]
            enter, forget, new, leave = gates.chunk(4)
            cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
            hidden = leave.sigmoid() * cell.tanh()
        last.append(hidden)
    return torch.cat(last)


def test_sentences_against_single_steps():
    model = make_model(embeddings="multichannel")
    for sentence, logits in zip(SENTENCES, logits_of(model, SENTENCES), strict=True):
        naive = model.output(model.fc(states_of(model, sentence)).relu())
        torch.testing.assert_close(logits, naive)


def test_pairs_against_single_steps():
    model = make_model(pair=True)
    for first, second, logits in zip(SENTENCES, OTHERS, logits_of(model, SENTENCES, OTHERS), strict=True):
        one, two = states_of(model, first), states_of(model, second)
        features = torch.cat((one, two, abs(one - two), one * two))
        torch.testing.assert_close(logits, model.output(model.fc(features).relu()))


def test_compare():
    compared = compared_states(torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 4.0]]))
    assert compared.tolist() == [[1, -2, 3, 4, 2, 6, 3, -8]]


@pytest.mark.parametrize(
    "mode, trained", [("static", set()), ("non-static", {"non_static"}), ("multichannel", {"non_static"})]
)
def test_which_vectors_are_trained(mode, trained):
    model = make_model(embeddings=mode).train()
    before = {name: channel.weight.clone() for name, channel in model.embeddings.items()}
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.5)
    model(**batch_of(model, SENTENCES)).logits.square().sum().backward()
    optimizer.step()
    changed = {
        name for name, channel in model.embeddings.items() if not torch.equal(channel.weight, before[name])
    }
    assert changed == trained
    assert all(not channel.weight[0].any() for channel in model.embeddings.values())


def test_channels_start_from_the_same_vectors():
    vocabulary = WordVocabulary.build(SENTENCES)
    vectors = torch.randn(len(vocabulary), 5)
    config = BiLSTMConfig(embeddings="multichannel", **SMALL)
    model = BiLSTMClassifier(config, WordInputs(vocabulary), vectors)
    assert model.lstm.input_size == 10
    with torch.no_grad():
        model.embeddings["non_static"].weight.zero_()
    assert torch.equal(model.embeddings["static"].weight, vectors) and vectors.any()


def test_scores_have_one_output():
    vocabulary = WordVocabulary.build(SENTENCES)
    model = BiLSTMClassifier(BiLSTMConfig(**SMALL), WordInputs(vocabulary))
    assert logits_of(model, SENTENCES).shape == (4, 1) and model.description.is_regression


def test_vectors_of_another_shape():
    vocabulary = WordVocabulary.build(SENTENCES)
    with pytest.raises(UserError, match=r"word vectors of shape \(3, 5\) for \d+ words of width 5"):
        BiLSTMClassifier(BiLSTMConfig(**SMALL), WordInputs(vocabulary), torch.zeros(3, 5))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"dropout": 1.0}, r"dropout is 1.0, it must be in \[0, 1\)"),
        ({"embeddings": "rand"}, "allowed are static, non-static, multichannel"),
    ],
)
def test_values_out_of_range(settings, message):
    with pytest.raises(UserError, match=message):
        BiLSTMConfig(**settings)


def test_long_pairs_are_cut_at_the_longer_sentence():
    vocabulary = WordVocabulary.build(["a b c d e f g h i j"])

    def lengths(first, second, most):
        row = WordInputs(vocabulary, most).encode(["a " * first], ["b " * second])[0]
        return row.token_type_ids.tolist().count(0), row.token_type_ids.tolist().count(1)

    assert lengths(3, 4, 0) == (3, 4) and lengths(3, 4, 7) == (3, 4)
    assert lengths(10, 3, 8) == (5, 3) and lengths(3, 10, 8) == (3, 5) and lengths(10, 10, 8) == (4, 4)
    assert lengths(9, 1, 2) == (1, 1)
    assert len(WordInputs(vocabulary, 4).encode(["a b c d e f"])[0].input_ids) == 4
    with pytest.raises(UserError, match="--max-length is 1, it must be at least 2"):
        WordInputs(vocabulary, 1)


def test_directory(tmp_path):
    model = make_model(embeddings="static", max_length=9)
    save_bilstm(tmp_path / "student", model)
    again = load_bilstm(tmp_path / "student")
    assert again.config == model.config and again.inputs.hash == model.inputs.hash
    torch.testing.assert_close(logits_of(again, SENTENCES), logits_of(model, SENTENCES))


def test_directory_loads_where_there_is_no_fairseq(tmp_path):
    model = make_model(pair=True, max_length=9)
    save_bilstm(tmp_path / "student", model)
    assert {path.name for path in (tmp_path / "student").iterdir()} == {
        "config.json",
        "model.safetensors",
        "vocabulary.json",
    }
    program = (
        "import sys; sys.modules['fairseq'] = None\n"
        "from pathlib import Path\n"
        "from cmlm_kd.data.classification.inputs import pad_batch\n"
        "from cmlm_kd.models.bilstm.directory import load_bilstm\n"
        f"model = load_bilstm(Path({str(tmp_path / 'student')!r}))\n"
        f"rows = model.inputs.encode({SENTENCES!r}, {OTHERS!r})\n"
        "print(model(**pad_batch(rows, model.inputs.pad)).logits.tolist())\n"
        "assert model.inputs.max_length == 9 and not model.training\n"
    )
    root = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=root
    )
    assert done.returncode == 0, done.stderr
    there = torch.tensor(json.loads(done.stdout))
    torch.testing.assert_close(there, logits_of(model, SENTENCES, OTHERS))


def test_directory_is_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        save_bilstm(tmp_path, make_model())
    assert (tmp_path / "mine.txt").exists()


def truncate(path):
    path.write_bytes(path.read_bytes()[:-50])


def other_words(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "words": ["<pad>", "<unk>", "x"]}))


def newer_format(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))


@pytest.mark.parametrize(
    "name, damage, message",
    [
        ("config.json", Path.unlink, r"config.json is missing"),
        ("config.json", newer_format, r"format 99; this version reads 'bilstm_classifier', format 1"),
        ("vocabulary.json", truncate, r"vocabulary.json is damaged"),
        ("vocabulary.json", other_words, r"do not belong together"),
        ("model.safetensors", truncate, r"do not belong together"),
    ],
)
def test_damaged_directories(tmp_path, name, damage, message):
    save_bilstm(tmp_path / "student", make_model())
    damage(tmp_path / "student" / name)
    with pytest.raises(UserError, match=message):
        load_bilstm(tmp_path / "student")


def test_checkpoints():
    model = make_model(seed=1)
    state = {
        "model": {f"classifier.{name}": tensor for name, tensor in model.state_dict().items()},
        "task_state": {"bilstm_classifier": model.state_of_architecture()},
    }
    again = bilstm_of_checkpoint(state)
    assert again.labels == ("no", "yes", "maybe") and not again.training
    torch.testing.assert_close(logits_of(again, SENTENCES), logits_of(model, SENTENCES))
    with pytest.raises(UserError, match="is none of bilstm_classifier"):
        bilstm_of_checkpoint({"model": {}, "task_state": {}})
    state["model"].popitem()
    with pytest.raises(UserError, match="weights do not fit"):
        bilstm_of_checkpoint(state)


EXAMPLES = Examples(SENTENCES, None, None, ("no", "yes"), "train.tsv")


def write_vectors(path):
    path.write_text("the 1 2 3\nzebra 4 5 6\ndog 7 8 9\n")
    return str(path)


def test_a_new_student_of_a_training_set(tmp_path):
    vectors = write_vectors(tmp_path / "v.txt")
    model = build_bilstm(BiLSTMOptions(word_vectors=vectors, extra_words=2, hidden_size=4), EXAMPLES)
    assert model.config.embeddings == "multichannel" and model.config.embedding_dim == 3
    words = model.inputs.vocabulary
    assert "zebra" in words and "cat" in words and model.labels == ("no", "yes") and not model.config.pair
    row = words.words.index("dog")
    assert model.embeddings["static"].weight[row].tolist() == [7, 8, 9]
    random = build_bilstm(BiLSTMOptions(embedding_dim=7, min_count=2), EXAMPLES)
    assert random.config.embeddings == "non-static" and random.config.embedding_dim == 7
    assert set(random.inputs.vocabulary.words[2:]) == {"no", "the", "dog", "cat"}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"embeddings": "static"}, "random ones would mean nothing; give --word-vectors"),
        ({"word_vectors": "teacher"}, "needs a teacher; name one with --teacher"),
        ({"extra_words": 5}, "--extra-words 5 are taken from a file"),
        ({"extra_words": -1}, "--extra-words is -1"),
        ({"min_count": 0}, "--min-count is 0"),
        ({"min_count": 9}, "no word comes 9 times"),
        ({"embedding_dim": 0}, "embedding_dim is 0"),
        ({"word_vectors": "FILE", "embedding_dim": 4}, "--embedding-dim is 4, but .* width 3"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, options, message):
    path = write_vectors(tmp_path / "v.txt")
    given = {name: path if value == "FILE" else value for name, value in options.items()}
    with pytest.raises(UserError, match=message):
        build_bilstm(BiLSTMOptions(**given), EXAMPLES)
