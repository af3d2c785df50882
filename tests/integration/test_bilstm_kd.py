"""``bilstm_classifier`` and ``bilstm_kd`` through fairseq-train, for sentences, pairs and scores."""

from pathlib import Path

import pytest
import torch
from documentation import blocks, commands
from fairseq_runs import run_train
from tiny_classification import write_bert, write_masked_lm, write_pairs, write_sst2

from cmlm_kd.cli import main
from cmlm_kd.data.classification import ReadingOptions, read_examples
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
from cmlm_kd.models.bilstm.directory import load_bilstm, save_bilstm
from cmlm_kd.models.classifier import load_classifier
from cmlm_kd.models.loading import bilstm_of_checkpoint
from cmlm_kd.models.prediction import predict_logits

VECTORS = "good 1 2 3 4\nbad -1 -2 -3 -4\nunseen 5 6 7 8\nfilm 0 0 0 1\n"


@pytest.fixture
def vectors(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text(VECTORS)
    return path


def train(tmp_path, data, corpus, teacher, *flags, name="student"):
    """Train for two updates, if the flags do not say otherwise, and return the last checkpoint."""
    run_train(
        *(data, "--task", "classification_kd", "--corpus", corpus, "--teacher", teacher, "--cpu"),
        *("--arch", "bilstm_classifier", "--hidden-size", 6, "--fc-size", 8, "--criterion", "bilstm_kd"),
        *("--optimizer", "adadelta", "--lr", 1.0, "--batch-size", 8, "--max-update", 2, "--num-workers", 0),
        *("--save-dir", tmp_path / name, "--no-epoch-checkpoints", "--no-progress-bar", "--seed", 1, *flags),
    )
    return tmp_path / name / "checkpoint_last.pt"


def student_of(checkpoint):
    return bilstm_of_checkpoint(read_checkpoint(checkpoint))


def read(data, corpus, split="train"):
    return read_examples(data, split, ReadingOptions(corpus))


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_sentences(tmp_path, vectors, mode):
    data, teacher = write_sst2(tmp_path / "data"), write_bert(tmp_path / "teacher")
    checkpoint = train(
        *(tmp_path, data, "SST-2", teacher, "--kd-mode", mode, "--word-vectors", vectors, "--extra-words", 3)
    )
    model = student_of(checkpoint)
    assert model.labels == ("negative", "positive") and model.config.embeddings == "multichannel"
    row = model.inputs.vocabulary.words.index("good")
    assert model.embeddings["static"].weight[row].tolist() == [1, 2, 3, 4]
    assert model.embeddings["non_static"].weight[row].tolist() != [1, 2, 3, 4]
    assert "unseen" in model.inputs.vocabulary
    save_bilstm(tmp_path / "saved", model)
    examples = read(data, "SST-2", "valid")
    logits = predict_logits(model, examples)
    assert logits.shape == (16, 2)
    assert (predict_logits(load_bilstm(tmp_path / "saved"), examples) == logits).all()


def test_pairs_with_the_teachers_own_word_embeddings(tmp_path):
    data = write_pairs(tmp_path / "data")
    teacher = write_bert(tmp_path / "teacher", labels=("entailment", "not_entailment"))
    checkpoint = train(
        *(tmp_path, data, "RTE", teacher, "--kd-mode", "original_pairs", "--word-vectors", "teacher"),
        *("--embeddings", "static"),
    )
    model = student_of(checkpoint)
    assert model.config.pair and model.fc.in_features == 8 * 6
    words = load_classifier(str(teacher)).model.get_input_embeddings().weight
    pieces = load_classifier(str(teacher)).inputs.tokenizer
    row = model.inputs.vocabulary.words.index("film")
    torch.testing.assert_close(
        model.embeddings["static"].weight[row], words[pieces.convert_tokens_to_ids("film")]
    )
    assert predict_logits(model, read(data, "RTE", "valid")).shape == (10, 2)


def test_scores(tmp_path):
    data = write_pairs(tmp_path / "data", "STS-B")
    teacher = write_bert(tmp_path / "teacher", labels=())
    model = student_of(train(tmp_path, data, "STS-B", teacher, "--kd-alpha", 0.5, "--max-length", 6))
    assert model.labels == () and model.inputs.max_length == 6
    assert predict_logits(model, read(data, "STS-B", "valid")).shape == (10, 1)


def test_a_resumed_student_is_the_one_that_was_never_stopped(tmp_path, vectors):
    data, teacher = write_sst2(tmp_path / "data"), write_bert(tmp_path / "teacher")
    flags = (tmp_path, data, "SST-2", teacher, "--word-vectors", vectors)
    whole = student_of(train(*flags, "--max-update", 12, name="whole")).state_dict()
    train(*flags, "--max-update", 6, name="parts")  # the first epoch
    parts = student_of(train(*flags, "--max-update", 12, name="parts")).state_dict()
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


def test_a_student_comes_near_its_teacher_on_augmented_data(tmp_path):
    data, teacher = write_sst2(tmp_path / "data"), write_bert(tmp_path / "teacher")
    flags = ("--corpus", "SST-2", "--replace", "0", "--iterations", "4")
    assert main(["augment", str(data), *flags, "--output", str(data / "more.tsv")]) == 0
    learning = ("--optimizer", "adam", "--lr", 0.02, "--batch-size", 16, "--max-update", 240)
    size = ("--hidden-size", 32, "--fc-size", 32, "--dropout", 0)
    checkpoint = train(tmp_path, data, "SST-2", teacher, "--train-file", "more.tsv", *learning, *size)
    examples = read(data, "SST-2")
    wanted = predict_logits(load_classifier(str(teacher)), examples)
    # Less than half of what is left to one who knows the teacher's mean.
    error = ((predict_logits(student_of(checkpoint), examples) - wanted) ** 2).mean()
    assert error < 0.5 * wanted.var(0).mean()


@pytest.mark.parametrize("page", ["docs/augmentation.md", "docs/criteria/bilstm_kd.md"])
def test_the_pages_commands(tmp_path, monkeypatch, vectors, page, capsys):
    monkeypatch.chdir(tmp_path)
    write_sst2(tmp_path / "glue" / "SST-2")
    write_bert(tmp_path / "teacher")
    write_masked_lm(tmp_path / "bert-base-uncased")
    vectors.rename("glove.txt")
    for words in commands(page):
        if words[0] == "fairseq-train":
            run_train(*words[1:], "--max-update", 2, "--cpu", "--no-progress-bar", "--num-workers", 0)
        else:
            assert main(words[1:]) == 0
    for program in blocks(page, "python"):
        capsys.readouterr()
        exec(program, {})
        assert capsys.readouterr().out.startswith("('negative', 'positive') tensor([")


def test_what_does_not_go_together(tmp_path):
    data = write_sst2(tmp_path / "data")
    teacher, other = write_bert(tmp_path / "teacher"), write_bert(tmp_path / "other", seed=5)
    with pytest.raises(UserError, match=r"bilstm_kd: reads the logits.*--ensemble logits"):
        train(tmp_path, data, "SST-2", f"{teacher}:{other}")
    with pytest.raises(UserError, match=r"--embeddings static keeps vectors as they are"):
        train(tmp_path, data, "SST-2", teacher, "--embeddings", "static")
    with pytest.raises(UserError, match=r"none.txt does not exist"):
        train(tmp_path, data, "SST-2", teacher, "--word-vectors", tmp_path / "none.txt")
    with pytest.raises(UserError, match=r"--max-length is 1, it must be at least 2"):
        train(tmp_path, data, "SST-2", teacher, "--max-length", 1)
    assert not list(Path(tmp_path).glob("student/*.pt"))
