"""``--task classification_kd``: training with and without teachers, resuming, evaluating, exporting,
refusing."""

import json
import logging
import re

import numpy as np
import pytest
import torch
from fairseq_cli import train
from fairseq_runs import build_task, exit_of, run_train
from tiny_classification import LABELS, classification, sentences, write_bert, write_pairs, write_sst2
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cmlm_kd.checkpoints import number_of_updates, read_checkpoint
from cmlm_kd.cli import main
from cmlm_kd.teachers.classifier import load_classifier
from cmlm_kd.teachers.fingerprint import model_hash
from cmlm_kd.training_log import read_validations

PROGRESS = logging.getLogger("fairseq.logging.progress_bar")  # it renames itself, but stays the same object


def logged_run(log, *flags):
    """Run fairseq-train with its log in a file of its own."""
    level = PROGRESS.level
    PROGRESS.setLevel(logging.INFO)
    try:
        run_train(*flags, "--log-file", log)
    finally:
        PROGRESS.setLevel(level)
        for handler in [found for found in PROGRESS.handlers if isinstance(found, logging.FileHandler)]:
            PROGRESS.removeHandler(handler)
            handler.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A corpus, an encoder, a teacher and one whose classes stand in another order."""
    root = tmp_path_factory.mktemp("classification")
    write_sst2(root / "data")
    write_bert(root / "encoder", labels=None)
    write_bert(root / "teacher")
    write_bert(root / "swapped", labels=LABELS[::-1], seed=1)
    return root


@pytest.fixture(scope="module")
def fine_tuned(root):
    """A student without a teacher after two updates, and its export."""
    logged_run(root / "plain.log", *classification(root / "data", root / "plain", bert=root / "encoder"))
    assert (
        main(["export", str(root / "plain" / "checkpoint_last.pt"), "--output", str(root / "exported")]) == 0
    )
    return root / "exported"


def distilling(root, save_dir, *flags, teacher="teacher", criterion="pkd", data="data", **settings):
    names = ":".join(str(root / name) for name in teacher.split(":"))
    layers = ("--layers", 2) if criterion == "pkd" else ()
    return classification(
        root / data,
        save_dir,
        "--teacher",
        names,
        *layers,
        *flags,
        bert=root / "teacher",
        criterion=criterion,
        **settings,
    )


def steps(root, tmp_path, *flags, updates=3, **settings):
    """The loss and terms of each update, as fairseq-train logs them."""
    log = tmp_path / f"{len(list(tmp_path.iterdir()))}.log"
    logged_run(
        log,
        *distilling(
            root,
            tmp_path / log.stem,
            *("--log-interval", 1, "--log-format", "json", "--no-save", "--dropout", 0),
            *("--max-update", updates, "--disable-validation", *flags),
            **settings,
        ),
    )
    found = [
        json.loads(line[line.index("{") :]) for line in log.read_text().splitlines() if '"gnorm"' in line
    ]
    return [step for step in found if "loss" in step]


# -- training -------------------------------------------------------------------------------------------


def test_validation_shows_what_glue_measures(root, fine_tuned):
    (point,) = read_validations(root / "plain.log")
    assert {"loss", "hard_loss", "accuracy", "f1", "matthews"} <= set(point.measures)
    examples = [label for _, label in sentences(16, seed=2)]
    assert point.measures["accuracy"] in {100 * n / len(examples) for n in range(len(examples) + 1)}


def test_scores_are_trained_and_measured(root, tmp_path):
    write_pairs(tmp_path / "sts", "STS-B")
    flags = classification(tmp_path / "sts", tmp_path / "s", bert=root / "encoder", corpus="STS-B")
    logged_run(tmp_path / "log", *flags)
    (point,) = read_validations(tmp_path / "log")
    assert {"loss", "pearson", "spearman"} <= set(point.measures) and "accuracy" not in point.measures
    assert main(["export", str(tmp_path / "s" / "checkpoint_last.pt"), "--output", str(tmp_path / "hf")]) == 0
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["problem_type"] == "regression" and config["id2label"] == {"0": "score"}


def test_cached_and_online_teachers_give_equal_losses(root, tmp_path):
    online = steps(root, tmp_path)
    cached = steps(root, tmp_path, "--teacher-cache", tmp_path / "cache")
    again = steps(root, tmp_path, "--teacher-cache", tmp_path / "cache")
    for name in ("loss", "hard_loss", "kd_loss", "pt_loss", "gnorm"):
        values = [[float(step[name]) for step in run] for run in (online, cached, again)]
        assert len(values[0]) == 3
        assert values[1] == values[2] == pytest.approx(values[0], abs=2e-3)  # logged with three digits
    assert len({step["pt_loss"] for step in online}) > 1


def test_the_terms_are_those_of_the_criterion(root, tmp_path):
    """Half of what the library computes for the same batch, whatever fairseq does around it."""
    whole = steps(root, tmp_path, "--kd-alpha", 0.25, "--kd-beta", 8, updates=1)[0]
    hard = float(whole["hard_loss"]) * np.log(2)
    wanted = 0.75 * hard + 0.25 * float(whole["kd_loss"]) + 8 * float(whole["pt_loss"])
    assert float(whole["loss"]) == pytest.approx(wanted, abs=0.01)


def test_a_teacher_in_another_order_of_classes_teaches_the_same(root, tmp_path):
    """The same weights, with the rows of the output layer and the names swapped."""
    model = AutoModelForSequenceClassification.from_pretrained(root / "teacher")
    with torch.no_grad():
        model.classifier.weight.copy_(model.classifier.weight.flip(0).clone())
        model.classifier.bias.copy_(model.classifier.bias.flip(0).clone())
    model.config.id2label = dict(enumerate(LABELS[::-1]))
    model.config.label2id = {name: i for i, name in enumerate(LABELS[::-1])}
    model.save_pretrained(tmp_path / "flipped")
    AutoTokenizer.from_pretrained(root / "teacher").save_pretrained(tmp_path / "flipped")
    straight = steps(root, tmp_path, "--kd-beta", 0)
    flipped = steps(root, tmp_path, "--kd-beta", 0, teacher=str(tmp_path / "flipped"))
    assert [step["kd_loss"] for step in straight] == [step["kd_loss"] for step in flipped]


def test_several_teachers(root, tmp_path):
    flags = ("--kd-beta", 0, "--kd-temperature", 1)
    mean = steps(root, tmp_path, *flags, teacher="teacher:swapped", updates=1)
    logits = steps(root, tmp_path, *flags, "--ensemble", "logits", teacher="teacher:swapped", updates=1)
    assert float(mean[0]["kd_loss"]) != float(logits[0]["kd_loss"])
    assert mean[0]["hard_loss"] == logits[0]["hard_loss"]


def test_a_teacher_with_another_tokenizer_may_teach_logits(root, tmp_path):
    write_bert(tmp_path / "foreign", extra=["more", "words"])
    flags = ("--kd-beta", 0)
    online = steps(root, tmp_path, *flags, teacher=str(tmp_path / "foreign"))
    cached = steps(
        root, tmp_path, *flags, "--teacher-cache", tmp_path / "c", teacher=str(tmp_path / "foreign")
    )
    assert [step["kd_loss"] for step in online] == [step["kd_loss"] for step in cached]


def test_training_goes_on_as_if_never_interrupted(root, tmp_path):
    """With dropout, new batches every epoch and a teacher cache."""
    common = (
        "--max-epoch",
        3,
        "--teacher-cache",
        tmp_path / "cache",
        "--lr",
        0.001,
        "--save-interval-updates",
        4,
    )
    run_train(*distilling(root, tmp_path / "whole", *common, "--max-update", 11))
    run_train(*distilling(root, tmp_path / "parts", *common, "--max-update", 4))
    run_train(*distilling(root, tmp_path / "parts", *common, "--max-update", 11))
    whole, parts = (read_checkpoint(tmp_path / name / "checkpoint_last.pt") for name in ("whole", "parts"))
    assert number_of_updates(whole) == number_of_updates(parts) == 11
    for name, tensor in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], tensor, msg=name)


def test_batches_hold_like_lengths_and_change_with_the_epoch(root):
    task, whole = build_task(*classification(root / "data", root / "unused", bert=root / "encoder"))
    task.build_model(whole.model)
    task.load_dataset("train")
    dataset = task.datasets["train"]
    first, second = (
        task.get_batch_iterator(dataset, max_sentences=8, epoch=epoch).frozen_batches for epoch in (1, 2)
    )
    assert sorted(row for batch in first for row in batch) == list(range(48))
    assert sorted(map(tuple, first)) != sorted(map(tuple, second))
    spread = [dataset.sizes[batch].max() - dataset.sizes[batch].min() for batch in first]
    assert np.mean(spread) < 5 < dataset.sizes.max() - dataset.sizes.min()


def test_every_example_is_in_a_batch(root):
    """fairseq leaves out the last ones of a set whose size is no multiple of 8, which would falsify
    metrics."""
    task, whole = build_task(*classification(root / "data", root / "unused", bert=root / "encoder"))
    task.build_model(whole.model)
    task.load_dataset("valid")
    iterator = task.get_batch_iterator(
        task.datasets["valid"], max_sentences=7, required_batch_size_multiple=8
    )
    assert sum(len(batch) for batch in iterator.frozen_batches) == 16


def test_a_held_out_share_takes_the_place_of_dev(root):
    flags = ("--hold-out", 0.25, "--hold-out-seed", 3)
    task, whole = build_task(*classification(root / "data", root / "unused", *flags, bert=root / "encoder"))
    task.build_model(whole.model)
    task.load_dataset("valid")
    task.load_dataset("train")
    train_texts, held = (task.datasets[name].examples.first for name in ("train", "valid"))
    everything = [text for text, _ in sentences(48, seed=1)]
    assert len(held) == 12 and sorted(train_texts + held) == sorted(everything)


def test_bfloat16(root, tmp_path):
    plain = steps(root, tmp_path, updates=1)
    narrow = steps(root, tmp_path, "--bf16-autocast", updates=1)
    assert float(narrow[0]["loss"]) == pytest.approx(float(plain[0]["loss"]), rel=0.05)
    assert narrow[0]["loss"] != plain[0]["loss"]


# -- what is trained beside the student -----------------------------------------------------------------


def test_an_augmented_training_file(root, tmp_path):
    (root / "data" / "aug.tsv").write_text("sentence\tlabel\ngood\t1\nbad\t0\n")
    task, _ = build_task(
        *classification(root / "data", tmp_path, "--train-file", "aug.tsv", bert=root / "encoder")
    )
    assert len(task.training_examples()) == 2


def test_export_loads_in_plain_hugging_face(root, fine_tuned):
    model = AutoModelForSequenceClassification.from_pretrained(fine_tuned).eval()
    tokenizer = AutoTokenizer.from_pretrained(fine_tuned)
    assert model.config.id2label == dict(enumerate(LABELS))
    state = read_checkpoint(root / "plain" / "checkpoint_last.pt")["model"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[f"classifier.model.{name}"]), name
    assert tokenizer("the film was good")["input_ids"][0] == tokenizer.cls_token_id
    assert tokenizer.model_max_length == 40
    assert {path.name for path in fine_tuned.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_an_exported_student_is_a_teacher(root, fine_tuned, tmp_path):
    assert steps(root, tmp_path, "--kd-beta", 0, teacher=str(fine_tuned), updates=1)


# -- cmlm-kd evaluate -----------------------------------------------------------------------------------


def evaluate(capsys, *arguments):
    status = main(["evaluate", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_evaluate_measures_and_writes_predictions(root, fine_tuned, tmp_path, capsys):
    models = (
        f"student={root / 'plain' / 'checkpoint_last.pt'}",
        f"exported={fine_tuned}",
        f"teacher={root / 'swapped'}",
        f"both={fine_tuned}:{root / 'swapped'}",
    )
    status, out, _ = evaluate(
        capsys,
        *(
            root / "data",
            "--corpus",
            "SST-2",
            "--predictions",
            tmp_path / "p",
            "--format",
            "json",
            "--model",
            *models,
        ),
    )
    found = {model["name"]: model for model in json.loads(out)["models"]}
    assert status == 0 and set(found) == {"student", "exported", "teacher", "both"}
    assert found["student"]["metrics"] == found["exported"]["metrics"]
    assert found["both"]["parameters"] == found["exported"]["parameters"] + found["teacher"]["parameters"]
    assert all(set(m["examples_per_second"]) == {"1", "32"} for m in found.values())
    (point,) = read_validations(root / "plain.log")
    assert found["student"]["metrics"]["accuracy"] == pytest.approx(point.measures["accuracy"])
    rows = [line.split("\t") for line in (tmp_path / "p" / "teacher.tsv").read_text().splitlines()]
    assert rows[0] == ["index", "prediction", "target", "p(negative)", "p(positive)"] and len(rows) == 17
    right = sum(row[1] == row[2] for row in rows[1:])
    assert found["teacher"]["metrics"]["accuracy"] == pytest.approx(100 * right / 16)
    assert all(float(row[3]) + float(row[4]) == pytest.approx(1, abs=2e-4) for row in rows[1:])


def test_evaluate_says_what_a_student_learnt_from(root, tmp_path, capsys):
    run_train(*distilling(root, tmp_path / "s", "--kd-beta", 0, teacher="teacher:swapped"))
    first, second = (
        model_hash(load_classifier(str(root / name)).config, load_classifier(str(root / name)))[:6]
        for name in ("teacher", "swapped")
    )
    _, out, _ = evaluate(
        capsys,
        root / "data",
        "--corpus",
        "SST-2",
        "--no-speed",
        "--model",
        tmp_path / "s" / "checkpoint_last.pt",
    )
    assert (
        f"kd:pkd|mode:original|T:10|alpha:0.7|beta:0|teacher:{first}+{second}|ensemble:probabilities|v:"
        in out
    )


def test_evaluate_prints_a_table_and_takes_unlabelled_text(root, fine_tuned, tmp_path, capsys):
    status, out, _ = evaluate(capsys, root / "data", "--corpus", "SST-2", "--model", fine_tuned)
    assert status == 0 and re.search(r"\| exported \| +\d+\.\d\d \|", out) and "examples/s, batch 32" in out
    (tmp_path / "test.tsv").write_text("index\tsentence\n0\tgood film\n")
    flags = ("--corpus", "SST-2", "--split", "test", "--no-speed", "--predictions", tmp_path)
    status, out, _ = evaluate(capsys, tmp_path, *flags, "--model", f"m={fine_tuned}")
    assert status == 0 and "accuracy" not in out
    assert (tmp_path / "m.tsv").read_text().startswith("index\tprediction\tp(negative)")


def test_evaluate_plain_text_knows_the_models_classes(root, fine_tuned, tmp_path, capsys):
    """A small set need not have all of them."""
    (tmp_path / "dev.tsv").write_text("good film\tpositive\n")
    status, out, _ = evaluate(capsys, tmp_path, "--corpus", "text", "--no-speed", "--model", fine_tuned)
    assert status == 0 and "accuracy" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "{root}/nowhere"], "nowhere does not exist"),
        (["--model", "a={root}/teacher", "a={root}/swapped"], "two models are called 'a'"),
        (["--model", "{root}/encoder"], "no fine-tuned classifier"),
        (["--model", "{root}/teacher", "--batch-size", "0"], "--batch-size is 0; it must be at least 1"),
        (["--model", "{root}/teacher", "--split", "gone"], "gone.tsv does not exist"),
    ],
)
def test_evaluate_refuses(root, tmp_path, capsys, arguments, message):
    filled = [argument.format(root=root) for argument in arguments]
    status, out, err = evaluate(
        capsys, root / "data", "--corpus", "SST-2", "--predictions", tmp_path / "p", *filled
    )
    assert status == 2 and message in err and not out and not (tmp_path / "p").exists()


# -- bad input: one line, exit status 1, nothing half-written -------------------------------------------


def refused(tmp_path, *flags):
    """The message of a run that fails, which must leave neither checkpoints nor a cache."""
    status, errors = exit_of(train, *flags)
    assert status == 1 and "Traceback" not in errors
    assert not (tmp_path / "s").exists() or not list((tmp_path / "s").glob("*.pt"))
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]
    return errors


@pytest.fixture
def spoilt(root, tmp_path):
    """A copy of the corpus, one line of which a test spoils."""
    folder = tmp_path / "spoilt"
    folder.mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).write_text((root / "data" / name).read_text())

    def spoil(name, line):
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text("\n".join([*lines[:2], line, *lines[3:]]) + "\n")
        return folder

    return spoil


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("dev.tsv", "fine\tmaybe", r"dev.tsv, line 3: label 'maybe' is none of '0', '1'"),
        ("train.tsv", "fine", r"train.tsv, line 3: 1 columns instead of 2 .*--skip-malformed-rows"),
        ("train.tsv", '"fine\tfilm"\t1', r"train.tsv, line 3: 3 columns .*quotes are text here"),
    ],
)
def test_files_are_refused_by_line(root, tmp_path, spoilt, name, line, message):
    flags = classification(spoilt(name, line), tmp_path / "s", bert=root / "encoder")
    assert re.search(message, refused(tmp_path, *flags))


def test_an_empty_class_is_refused(root, tmp_path):
    (tmp_path / "train.tsv").write_text("sentence\tlabel\ngood\t1\nfine\t1\n")
    errors = refused(tmp_path, *classification(tmp_path, tmp_path / "s", bert=root / "encoder"))
    assert "no example of class 'negative' (there are 0 of 'negative', 2 of 'positive')" in errors


def test_label_counts_that_differ_are_refused(root, tmp_path):
    write_bert(tmp_path / "three", labels=("a", "b", "c"))
    errors = refused(tmp_path, *distilling(root, tmp_path / "s", teacher=str(tmp_path / "three")))
    assert (
        "three predicts 3 classes ('a', 'b', 'c'), the data have 2 classes ('negative', 'positive')" in errors
    )


def test_a_teacher_that_gives_no_number_is_refused(root, tmp_path):
    folder = write_bert(tmp_path / "nan")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    model.save_pretrained(folder)
    for flags in ((), ("--teacher-cache", tmp_path / "cache")):
        errors = refused(tmp_path, *distilling(root, tmp_path / "s", *flags, teacher=str(folder)))
        assert re.search(r"teacher .*nan gives \[nan, .* for .*train.tsv, line \d+: ", errors)
    assert not (tmp_path / "cache").exists()


@pytest.fixture(scope="module")
def odd(root, tmp_path_factory):
    """A teacher that gives no number for a word that one short sentence of a corpus has; its student."""
    folder = tmp_path_factory.mktemp("odd")
    write_sst2(folder / "data")
    with (folder / "data" / "train.tsv").open("a") as file:
        file.write("odd\t1\n")
    write_bert(folder / "encoder", labels=None, extra=["odd"])
    teacher = AutoModelForSequenceClassification.from_pretrained(
        write_bert(folder / "teacher", extra=["odd"])
    )
    with torch.no_grad():
        teacher.get_input_embeddings().weight[-1] = float("nan")
    teacher.save_pretrained(folder / "teacher")
    return folder


def test_a_teacher_that_gives_no_number_in_the_middle_is_told_by_line(odd, tmp_path):
    """The longest examples, asked about before training, are not among those."""
    flags = distilling(odd, tmp_path / "s", "--max-update", 20, "--max-epoch", 1, "--hold-out", 0.05)
    errors = refused(tmp_path, *flags)  # no crash.pt either
    assert re.search(r"teacher .*teacher gives \[nan, .* for .*train.tsv, line 50: ", errors)


def test_a_cache_of_another_teacher_is_refused(root, tmp_path):
    run_train(*distilling(root, tmp_path / "s", "--teacher-cache", tmp_path / "c", "--no-save"))
    errors = refused(
        tmp_path, *distilling(root, tmp_path / "s", "--teacher-cache", tmp_path / "c", teacher="swapped")
    )
    assert "is of another teacher" in errors and "give another --teacher-cache" in errors


def test_positions_of_two_tokenizers_are_refused(root, tmp_path):
    foreign = write_bert(tmp_path / "foreign", extra=["more"])
    flags = distilling(root, tmp_path / "s", criterion="tinybert_kd", teacher=str(foreign))
    errors = refused(tmp_path, *flags)
    assert (
        "tinybert_kd: compares student bert_classifier and teacher" in errors
        and "tokenizers differ" in errors
    )


@pytest.mark.parametrize(
    ("flags", "settings", "message"),
    [
        (
            (),
            {"criterion": "soft_target_kd"},
            "soft_target_kd: is a loss over tokens, but --task classification_kd",
        ),
        (("--max-length", 41), {}, "--max-length is 41"),
        (("--hold-out", 1.5), {}, r"--hold-out is 1.5; it must be in \(0, 1\)"),
        (("--kd-layer-map", "9"), {}, "pkd: layer map '9' .*teacher layer 9 is not in 1 to 4"),
        ((), {"teacher": "teacher:swapped"}, "ensemble of .* has no layers to compare .*--kd-beta 0"),
        ((), {"corpus": "sst"}, "--corpus is 'sst'; did you mean SST-2"),
        ((), {"corpus": "RTE"}, "train.tsv, line 1: there is no column 'sentence1'"),
        (("--dropout", 1.0), {}, r"--dropout is 1.0, it must be in \[0, 1\)"),
    ],
)
def test_settings_are_refused_before_training(root, tmp_path, flags, settings, message):
    assert re.search(message, refused(tmp_path, *distilling(root, tmp_path / "s", *flags, **settings)))


def test_a_criterion_needs_its_teacher(root, tmp_path):
    flags = classification(root / "data", tmp_path / "s", bert=root / "encoder", criterion="pkd")
    assert (
        "pkd: student bert_classifier has no teacher to learn from; name one with --teacher DIR"
        in refused(tmp_path, *flags)
    )
    flags = classification(
        root / "data", tmp_path / "s", "--teacher-cache", tmp_path / "c", bert=root / "encoder"
    )
    assert "--teacher-cache is of no use without --teacher DIR" in refused(tmp_path, *flags)


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        (["--criterion", "pdk"], "no --criterion is named 'pdk'; did you mean 'pkd'?"),
        (["--criterion=pdk"], "no --criterion is named 'pdk'; did you mean 'pkd'?"),
        (["--criterion", "zzzz"], "no --criterion is named 'zzzz'; registered are: "),
        (
            ["--task", "clasification_kd"],
            "no --task is named 'clasification_kd'; did you mean 'classification_kd'",
        ),
        (["--arch", "bert_clasifier"], "no --arch is named 'bert_clasifier'; did you mean 'bert_classifier'"),
        (["--optimizer", "bert_adam"], "no --optimizer is named 'bert_adam'; did you mean 'bert_adamw'"),
    ],
)
def test_an_unknown_name_answers_with_close_ones(root, tmp_path, spelling, message):
    flags = classification(root / "data", tmp_path / "s", *spelling, bert=root / "encoder")
    status, errors = exit_of(train, *flags)
    assert status == 2 and errors.startswith(f"fairseq-train: {message}") and errors.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_a_teacher_that_is_not_read_is_mentioned(root, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run_train(*distilling(root, tmp_path / "s", "--no-save", criterion="sentence_classification"))
    assert "sentence_classification reads no teacher: --teacher is not used" in caplog.text
