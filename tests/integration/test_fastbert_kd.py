"""FastBERT by fairseq-train: fine-tuning, self-distillation, resuming, what is frozen and what is refused."""

import re

import pytest
import torch
from documentation import commands
from fairseq_cli import train
from fairseq_runs import exit_of, run_train
from tiny_classification import classification, sentences, write_bert, write_pairs, write_sst2
from transformers import AutoModel

from cmlm_kd.cli import main
from cmlm_kd.data.classification import ReadingOptions, read_examples
from cmlm_kd.early_exit.prediction import classify_at_every_layer
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
from cmlm_kd.models.loading import load_student

STUDENT = ("--arch", "fastbert", "--branch-size", 8)  # the last --arch counts
BRANCHES = {f"classifier.classifiers.{branch}." for branch in range(3)}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_sst2(folder / "SST-2")
    write_bert(folder / "encoder", labels=None)
    run_train(*flags(folder, folder / "fine-tuned", "--lr", 0.001))
    return folder


def flags(corpus, save_dir, *more, criterion="sentence_classification"):
    return classification(
        corpus / "SST-2", save_dir, *STUDENT, *more, bert=corpus / "encoder", criterion=criterion
    )


def second_stage(corpus, save_dir, *more):
    start = corpus / "fine-tuned" / "checkpoint_best.pt"
    given = ("--finetune-from-model", start, "--lr", 0.01, *more)
    return flags(corpus, save_dir, *given, criterion="fastbert_kd")


def distil(corpus, save_dir, *more):
    run_train(*second_stage(corpus, save_dir, *more))
    return read_checkpoint(save_dir / "checkpoint_last.pt")


def test_fine_tuning_leaves_the_branches_alone(corpus):
    student = load_student(corpus / "fine-tuned" / "checkpoint_best.pt")
    assert student.stage == "teacher" and len(student.layers) == 4 and student.settings.size == 8
    assert student.labels == ("negative", "positive")
    state = read_checkpoint(corpus / "fine-tuned" / "checkpoint_last.pt")["last_optimizer_state"]
    encoder_and_teacher = [*student.encoder.parameters(), *student.teacher.parameters()]
    assert len(state["state"]) == len(encoder_and_teacher)


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_self_distillation_moves_the_branches_alone(corpus, tmp_path, mode):
    before = read_checkpoint(corpus / "fine-tuned" / "checkpoint_best.pt")["model"]
    checkpoint = distil(corpus, tmp_path, "--kd-mode", mode)
    after = checkpoint["model"]
    assert set(after) == set(before)  # what is frozen is saved too
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert {name[: len(min(BRANCHES))] for name in moved} == BRANCHES
    student = load_student(tmp_path / "checkpoint_last.pt")
    assert student.stage == "branches" and not student.training
    assert student.signature.startswith(f"kd:fastbert|mode:{mode}|direction:forward|teacher:self|v:")
    # Matrices decay, biases do not, and nothing else is in the optimizer.
    groups = checkpoint["last_optimizer_state"]["param_groups"]
    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [(0.01, 21), (0.0, 21)]


def test_validation_reports_every_classifier(corpus, tmp_path, caplog):
    with caplog.at_level("INFO"):
        distil(corpus, tmp_path)
    (line,) = [r.getMessage() for r in caplog.records if "branch_accuracy" in r.getMessage()][-1:]
    logged = {name: float(value) for name, value in re.findall(r"(\w+) ([\d.]+)(?: \||$)", line)}
    every = classify_at_every_layer(
        load_student(tmp_path / "checkpoint_last.pt"),
        valid := read_examples(corpus / "SST-2", "valid", ReadingOptions("SST-2")),
    )
    found = 100 * (every.predictions == valid.target[:, None]).mean(0)
    assert [logged[f"exit{layer}_accuracy"] for layer in (1, 2, 3)] == pytest.approx(found[:3])
    assert logged["accuracy"] == pytest.approx(found[3])
    assert logged["branch_accuracy"] == pytest.approx(found[:3].mean(), abs=1e-3)
    assert {"kd_loss", "hard_loss", "loss"} <= set(logged)


def test_a_resumed_student_is_the_one_that_was_never_stopped(corpus, tmp_path):
    updates = ("--max-update", 12)
    whole = distil(corpus, tmp_path / "whole", *updates)["model"]
    distil(corpus, tmp_path / "parts", "--max-update", 6)
    parts = distil(corpus, tmp_path / "parts", *updates)["model"]
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


def test_texts_without_labels(corpus, tmp_path):
    lines = "".join(f"{text}\n" for text, _ in sentences(20, seed=9))
    (corpus / "SST-2" / "more.tsv").write_text("sentence\n" + lines)
    (corpus / "plain").mkdir(exist_ok=True)
    (corpus / "plain" / "train.tsv").write_text(lines)
    labelled = "".join(f"{text}\t{('negative', 'positive')[label]}\n" for text, label in sentences(9))
    (corpus / "plain" / "dev.tsv").write_text(labelled)
    published = distil(corpus, tmp_path / "columns", "--train-file", "more.tsv", "--unlabelled")
    given = list(second_stage(corpus, tmp_path / "plain", "--unlabelled", "--corpus", "text"))
    given[0] = corpus / "plain"
    run_train(*given)  # the classes are those of the model it starts from
    plain = read_checkpoint(tmp_path / "plain" / "checkpoint_last.pt")
    assert plain["task_state"]["labels"] == ["negative", "positive"]
    for name, value in published["model"].items():
        torch.testing.assert_close(plain["model"][name], value)


def test_from_the_branches_back_to_the_encoder(corpus, tmp_path):
    distil(corpus, tmp_path / "distilled")
    start = tmp_path / "distilled" / "checkpoint_last.pt"
    run_train(*flags(corpus, tmp_path / "again", "--finetune-from-model", start))
    assert load_student(tmp_path / "again" / "checkpoint_last.pt").stage == "teacher"


def test_the_pages_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_sst2(tmp_path / "glue" / "SST-2")
    lines = "".join(f"{text}\n" for text, _ in sentences(20, seed=9))
    (folder / "unlabelled.tsv").write_text("sentence\n" + lines)
    write_bert(tmp_path / "bert-base-uncased", labels=None, layers=3, positions=128)
    for words in commands("docs/criteria/fastbert_kd.md"):
        if words[0] == "fairseq-train":
            run_train(*words[1:], "--max-update", 2, "--cpu", "--no-progress-bar")
        else:
            assert main(words[1:]) == 0
    exported = load_student(tmp_path / "fastbert-sst2")
    assert exported.stage == "branches" and exported.signature.startswith("kd:fastbert|")
    AutoModel.from_pretrained("fastbert-sst2")
    unlabelled = load_student(tmp_path / "fastbert-unlabelled" / "checkpoint_best.pt")
    assert unlabelled.stage == "branches"


def test_what_is_refused_before_training(corpus, tmp_path):
    start = ("--finetune-from-model", corpus / "fine-tuned" / "checkpoint_best.pt")
    write_pairs(tmp_path / "STS-B", "STS-B")
    hard = {"criterion": "sentence_classification"}
    bert = {"bert": corpus / "encoder", "criterion": "fastbert_kd"}
    run_train(*classification(corpus / "SST-2", tmp_path / "bert", bert=corpus / "encoder"))
    other = ("--finetune-from-model", tmp_path / "bert" / "checkpoint_last.pt")
    cases = [
        ((), {}, "the teacher classifier is random"),
        (other, {}, "is no checkpoint of --arch fastbert"),
        ((*start, "--labels", "positive,negative"), {}, "has the classes negative, positive, the data"),
        (("--bert", ""), hard, "--bert is missing"),
        (("--unlabelled",), hard, "sentence_classification: reads the labels of the training set"),
        ((*start, "--unlabelled", "--hold-out", 0.1), {}, "--hold-out validates on a part"),
    ]
    for more, chosen, message in cases:
        given = flags(corpus, tmp_path / "run", *more, **{"criterion": "fastbert_kd", **chosen})
        status, errors = exit_of(train, *given)
        assert status == 1 and message in errors and "Traceback" not in errors, (message, errors)
    status, errors = exit_of(train, *classification(corpus / "SST-2", tmp_path / "run", **bert))
    assert status == 1 and "logits on every layer, which student bert_classifier does not have" in errors
    scores = (tmp_path / "STS-B", *flags(corpus, tmp_path / "run", "--corpus", "STS-B")[1:])
    status, errors = exit_of(train, *scores)
    assert status == 1 and "two classes or more" in errors
    assert not list((tmp_path / "run").glob("*.pt"))
