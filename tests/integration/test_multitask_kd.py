"""``--task multitask_kd`` and ``--arch multitask_bert`` through fairseq-train: batches, teachers, metrics,
resuming, export, and what is refused."""

import json
import re

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq_cli import train
from fairseq_runs import build_task, exit_of, run_train
from tiny_classification import classification, write_bert
from tiny_multitask import TASKS, multitask, write_tasks, write_teachers
from transformers import AutoModelForSequenceClassification

from cmlm_kd.api.criterion import hard_label_loss
from cmlm_kd.cli import main
from cmlm_kd.data.classification import ReadingOptions, read_examples
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint
from cmlm_kd.models.classifier import load_classifier
from cmlm_kd.models.loading import load_student, multitask_of_checkpoint
from cmlm_kd.models.prediction import predict_logits


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("multitask")
    write_tasks(root / "glue")
    write_teachers(root)
    write_bert(root / "encoder", labels=None, layers=2, seed=9)
    return root


def teachers(root, *names):
    """All teachers, or those of some tasks, as a flag."""
    known = {
        "SST-2": f"{root / 'sst-a'}:{root / 'sst-b'}",
        "STS-B": root / "sts",
        "QNLI": root / "answers",
        "RTE": root / "rte",
    }
    return "--teacher", ",".join(f"{name}={known[name]}" for name in names or ("SST-2", "STS-B", "QNLI"))


@pytest.fixture(scope="module")
def trained(root):
    """The checkpoint of a run with teachers for three tasks and an answer network for the fourth."""
    flags = (*teachers(root), "--san-heads", "RTE", "--max-update", 100, "--max-epoch", 1)
    run_train(*multitask(root, root / "trained", *flags))
    return root / "trained" / "checkpoint_last.pt"


def weights(save_dir):
    return read_checkpoint(save_dir / "checkpoint_last.pt")["model"]


def prepared(root, *flags):
    """Task, model and criterion as fairseq-train has them before the first step, and the training set."""
    task, whole = build_task(*multitask(root, root / "unused", *flags))
    model, criterion = task.build_model(whole.model), task.build_criterion(whole.criterion)
    task.load_dataset("train")
    return task, model, criterion, task.datasets["train"]


# -- batches --------------------------------------------------------------------------------------------


def test_batches_are_of_one_task_and_tasks_take_turns(root):
    task, _, _, dataset = prepared(root, *teachers(root))

    def batches(epoch, seed=1):
        iterator = task.get_batch_iterator(dataset, max_sentences=8, epoch=epoch, seed=seed)
        iterator.next_epoch_itr(shuffle=True)
        return [list(batch) for batch in iterator.epoch_batch_sampler]

    first = batches(1)
    assert sorted(row for batch in first for row in batch) == list(range(48 + 24 + 24 + 8))
    names = [dataset.collater(batch)["net_input"]["task"] for batch in first]
    for batch in first:
        assert len({dataset.task_of(row) for row in batch}) == 1
    # In proportion to size: each task's examples in batches of 8, in no order of tasks.
    assert {name: names.count(name) for name in TASKS.split(",")} == {
        "SST-2": 6,
        "RTE": 3,
        "STS-B": 3,
        "QNLI": 1,
    }
    assert names != sorted(names, key=TASKS.split(",").index)
    assert batches(1) == first and batches(2) != first and batches(1, seed=2) != first


def test_training_goes_on_at_the_exact_batch(root, tmp_path):
    """In the middle of the first epoch, with dropout and caches."""
    cache = ("--teacher-cache", tmp_path / "cache")
    flags = (*teachers(root), *cache, "--lr", 0.001, "--disable-validation", "--save-interval-updates", 4)
    run_train(*multitask(root, tmp_path / "whole", *flags, "--max-update", 9))
    run_train(*multitask(root, tmp_path / "parts", *flags, "--max-update", 4))
    run_train(*multitask(root, tmp_path / "parts", *flags, "--max-update", 9))
    assert number_of_updates(read_checkpoint(tmp_path / "parts" / "checkpoint_last.pt")) == 9
    for name, tensor in weights(tmp_path / "whole").items():
        torch.testing.assert_close(weights(tmp_path / "parts")[name], tensor, msg=name)


# -- what a step learns from ----------------------------------------------------------------------------


class Backward:
    """What a step asks of an optimiser."""

    @staticmethod
    def backward(loss):
        loss.backward()


def one_step(root, name, *flags):
    """Losses of the first rows of a task, and what is needed to compute them again."""
    task, model, criterion, dataset = prepared(root, *flags, "--dropout", 0)
    model.train()
    start = next(row for row in range(len(dataset)) if dataset.task_of(row) == name)
    sample = dataset.collater(list(range(start, start + 3)))
    with torch.enable_grad():
        _, size, logged = task.train_step(sample, model, criterion, Backward, 0)
    inputs = {key: sample["net_input"][key] for key in ("input_ids", "attention_mask", "token_type_ids")}
    own = model.classifier.for_task(name).eval()(**inputs).logits
    return size, logged, sample["target"], inputs, own


@torch.no_grad()
def test_a_mean_of_probabilities_teaches_classes(root):
    size, logged, target, inputs, own = one_step(root, "SST-2", *teachers(root))
    members = [load_classifier(str(root / name))(**inputs).logits for name in ("sst-a", "sst-b")]
    mean = sum(member.softmax(-1) for member in members) / 2
    soft = -(mean * own.log_softmax(-1)).sum()
    hard = hard_label_loss(own, target).sum()
    assert size == 3 and float(logged["SST-2/term:kd_loss"]) == pytest.approx(float(soft), rel=1e-5)
    assert float(logged["loss"]) == pytest.approx(float(soft + hard) / 2, rel=1e-5)


@torch.no_grad()
def test_a_teacher_of_answers_teaches_the_distribution_over_candidates(root):
    size, logged, target, inputs, own = one_step(root, "QNLI", *teachers(root), "--kd-mode", "original")
    wanted = load_classifier(str(root / "answers"))(**inputs).logits.view(3, 2)
    kl = torch.nn.functional.kl_div(own.view(3, 2).log_softmax(-1), wanted.softmax(-1), reduction="sum")
    hard = torch.nn.functional.cross_entropy(own.view(3, 2), target, reduction="sum")
    assert size == 3 and target.tolist() == [0, 0, 0]
    assert float(logged["QNLI/term:kd_loss"]) == pytest.approx(float(kl), rel=1e-4)
    assert float(logged["loss"]) == pytest.approx(float(kl + hard), rel=1e-4)


@torch.no_grad()
def test_a_teacher_of_scores_teaches_its_score(root):
    _, logged, target, inputs, own = one_step(root, "STS-B", *teachers(root))
    wanted = load_classifier(str(root / "sts"))(**inputs).logits
    expected = ((own - wanted) ** 2).sum() / 2 + ((own[:, 0] - target) ** 2).sum() / 2
    assert float(logged["loss"]) == pytest.approx(float(expected), rel=1e-4)


@torch.no_grad()
def test_a_task_without_a_teacher_has_hard_labels_alone(root):
    size, logged, target, _, own = one_step(root, "RTE", *teachers(root))
    assert float(logged["loss"]) == pytest.approx(float(hard_label_loss(own, target).sum()), rel=1e-5)
    assert logged["RTE/count:kd_loss"] == 0 and logged["RTE/sample_size"] == size == 3
    assert logged["SST-2/sample_size"] == 0 and set(logged) >= {"QNLI/term:kd_loss", "STS-B/loss"}


def test_cached_and_online_teachers_lead_to_equal_students(root, tmp_path):
    flags = (*teachers(root), "--disable-validation", "--max-update", 6)
    run_train(*multitask(root, tmp_path / "online", *flags))
    cache = ("--teacher-cache", tmp_path / "cache")
    run_train(*multitask(root, tmp_path / "cached", *flags, *cache))
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"SST-2", "STS-B", "QNLI"}
    for name, tensor in weights(tmp_path / "online").items():
        torch.testing.assert_close(weights(tmp_path / "cached")[name], tensor, msg=name)


def test_one_task_of_classification_kd(root, tmp_path):
    for mode in ("paper", "original"):
        flags = ("--teacher", f"{root / 'sst-a'}:{root / 'sst-b'}", "--kd-mode", mode)
        run_train(
            *classification(
                root / "glue" / "SST-2", tmp_path / mode, *flags, bert=root / "encoder", criterion="mtdnn_kd"
            )
        )
    assert not all(
        torch.equal(tensor, weights(tmp_path / "original")[name])
        for name, tensor in weights(tmp_path / "paper").items()
    )


# -- what is logged -------------------------------------------------------------------------------------


def test_each_task_is_measured_and_the_mean_chooses(root, tmp_path, caplog):
    best = ("--best-checkpoint-metric", "score", "--maximize-best-checkpoint-metric")
    flags = (*teachers(root), *best, "--log-format", "json", "--log-interval", 1)
    with caplog.at_level("INFO"):
        run_train(*multitask(root, tmp_path, *flags))
    lines = [record.getMessage() for record in caplog.records]
    documents = [json.loads(line) for line in lines if line.startswith('{"')]
    (found,) = [document for document in documents if "valid_score" in document]
    names = ("SST-2_accuracy", "SST-2_f1", "RTE_matthews", "STS-B_pearson", "QNLI_top1", "QNLI_mrr")
    values = {name: float(found[f"valid_{name}"]) for name in names}
    assert 0 <= values["QNLI_top1"] <= values["QNLI_mrr"] <= 100
    main_ones = ("SST-2_accuracy", "RTE_accuracy", "STS-B_pearson", "QNLI_top1")
    mean = sum(float(found[f"valid_{name}"]) for name in main_ones) / 4
    assert float(found["valid_score"]) == pytest.approx(mean, abs=0.01)
    assert read_checkpoint(tmp_path / "checkpoint_best.pt")["extra_state"]["best"] == pytest.approx(
        mean, abs=0.01
    )
    said = "\n".join(lines)
    assert "hard labels alone, without a teacher: RTE" in said
    assert "24 of 104 training examples have hard labels alone" in said
    assert re.search(r"8 queries; 1 examples are left out", said)
    steps = [document for document in documents if "gnorm" in document and "loss" in document]
    assert any("hard_labels_alone" in step for step in steps)
    assert any(name.endswith("_kd_loss") for step in steps for name in step)


def test_validation_of_a_checkpoint_is_what_evaluate_says(root, trained, capsys):
    assert (
        main(
            [
                "evaluate",
                str(root / "glue" / "SST-2"),
                "--corpus",
                "SST-2",
                "--no-speed",
                "--model",
                str(trained),
                "--format",
                "json",
            ]
        )
        == 0
    )
    (found,) = json.loads(capsys.readouterr().out)["models"]
    assert re.fullmatch(
        r"kd:mtdnn\|mode:paper\|teacher:\w{6}\+\w{6}\|ensemble:probabilities\|v:.*", found["kd_signature"]
    )
    examples = read_examples(root / "glue" / "SST-2", "valid", ReadingOptions("SST-2"))
    logits = predict_logits(load_student(trained, task="SST-2"), examples)
    assert found["metrics"]["accuracy"] == pytest.approx(100 * (logits.argmax(1) == examples.target).mean())


# -- checkpoints and exports ----------------------------------------------------------------------------


def test_a_checkpoint_is_rebuilt_without_data(root, trained):
    model = multitask_of_checkpoint(read_checkpoint(trained))
    assert list(model.tasks) == TASKS.split(",") and model.tasks["RTE"].san
    assert model.tasks["RTE"].labels == ("entailment", "not_entailment")
    overrides = {"data": "nowhere", "teacher": ""}
    (by_fairseq,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(trained)], overrides)
    assert [head.name for head in task.heads] == list(model.tasks)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, by_fairseq.state_dict()[f"classifier.{name}"]), name


@pytest.mark.parametrize(("task", "outputs"), [("SST-2", 2), ("STS-B", 1), ("QNLI", 1)])
def test_one_task_as_a_hugging_face_directory(root, trained, tmp_path, task, outputs):
    assert main(["export", str(trained), "--task", task, "--output", str(tmp_path / "hf")]) == 0
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "hf")
    assert plain.config.num_labels == outputs and "multitask" not in json.dumps(plain.config.to_dict())
    corpus = "RTE" if task == "QNLI" else task
    examples = read_examples(root / "glue" / corpus, "valid", ReadingOptions(corpus))
    exported = load_classifier(str(tmp_path / "hf"))
    assert exported.labels == (("negative", "positive") if task == "SST-2" else ())
    mine = predict_logits(load_student(trained, task=task), examples)
    torch.testing.assert_close(torch.from_numpy(predict_logits(exported, examples)), torch.from_numpy(mine))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "has several tasks; name one of them with --task: SST-2, RTE, STS-B, QNLI"),
        (("--task", "SST2"), "has no task 'SST2'; did you mean SST-2"),
        (("--task", "RTE"), "the head of RTE is an answer network"),
        (("--task", "SST-2", "--to", "bilstm"), "--task goes with --to huggingface"),
    ],
)
def test_exports_that_are_refused(trained, tmp_path, capsys, flags, message):
    assert main(["export", str(trained), "--output", str(tmp_path / "hf"), *flags]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "hf").exists()


# -- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "settings", "message"),
    [
        (("--teacher", "SST2={root}/sst-a"), {}, "--teacher names 'SST2', .*did you mean SST-2"),
        (("--teacher", "MRPC={root}/sst-a"), {}, "--teacher names 'MRPC', which is not trained here"),
        ((), {"corpora": "SST-2,RTE,SST-2"}, "--corpora names SST-2 twice"),
        ((), {"corpora": "SST2"}, "SST2, which is no published corpus; did you mean SST-2"),
        (("--teacher", "SST-2={root}/three"), {}, r"three predicts 3 classes .* the data have 2 classes"),
        (("--teacher", "QNLI={root}/rte"), {}, r"rte predicts 2 classes .* the data have a score"),
        (("--teacher", "STS-B={root}/rte"), {}, r"rte predicts 2 classes .* the data have a score"),
        (
            ("--san-heads", "STS-B"),
            {},
            "--san-heads is for pairs of sentences with classes, STS-B has scores",
        ),
        (("--san-heads", "MNLI"), {}, "--san-heads names 'MNLI', which is not trained here"),
        (("--ranking", "SST-2"), {"corpora": "SST-2"}, "--ranking SST-2: ranking is for pairs"),
        (("--ranking", "STS-B"), {"corpora": "STS-B"}, "STS-B has no class 'entailment' \\(it has scores"),
        (
            ("--ranking", "RTE"),
            {"corpora": "RTE", "criterion": "sentence_classification"},
            "no first sentence comes with several second ones",
        ),
        ((), {"corpora": "SST-2,RTE"}, "mtdnn_kd: no task has a teacher; name some with --teacher NAME=DIR"),
        (("--teacher-cache", "c"), {}, "--teacher-cache is of no use without --teacher"),
        (
            ("--teacher", "SST-2={root}/sst-a"),
            {"criterion": "tinybert_kd"},
            r"tinybert_kd: .*student multitask_bert \(SST-2\)",
        ),
        (
            ("--teacher", "SST-2={root}/sst-a"),
            {"corpora": "SST-2,RTE", "criterion": "bilstm_kd"},
            "bilstm_kd: RTE has no teacher, without .*--teacher RTE=DIR, or take --criterion mtdnn_kd",
        ),
        (
            ("--corpus-format", "A=text", "--corpus-folder", "A=mixed"),
            {"corpora": "A", "criterion": "sentence_classification"},
            "mixed/dev.tsv has pairs of sentences, the training set has single sentences",
        ),
    ],
)
def test_what_is_refused_before_training(root, tmp_path, flags, settings, message):
    if not (root / "three").exists():
        write_bert(root / "three", labels=("a", "b", "c"), layers=1)
        (root / "glue" / "mixed").mkdir()
        for name, row in (("train", "good"), ("dev", "good\tfilm")):
            (root / "glue" / "mixed" / f"{name}.tsv").write_text(f"{row}\tyes\n{row}\tno\n")
    filled = [str(flag).format(root=root) for flag in flags]
    status, errors = exit_of(train, *multitask(root, tmp_path / "s", *filled, **settings))
    assert status == 1 and re.search(message, errors) and "Traceback" not in errors, errors
    assert not (tmp_path / "s").exists() or not list((tmp_path / "s").glob("*.pt"))


def test_other_classes_than_those_of_the_checkpoint_are_refused(root, trained, tmp_path):
    flags = ("--finetune-from-model", trained, "--san-heads", "RTE", "--labels", "SST-2=positive:negative")
    status, errors = exit_of(train, *multitask(root, tmp_path / "s", *teachers(root), *flags))
    assert status == 1 and not list(tmp_path.glob("s/*.pt"))
    assert f"multitask_kd: task SST-2: {trained} has the classes negative, positive, the data" in errors


def test_a_teacher_that_gives_no_number_is_refused_before_training(root, tmp_path):
    teacher = AutoModelForSequenceClassification.from_pretrained(write_bert(tmp_path / "nan", layers=2))
    with torch.no_grad():
        teacher.classifier.weight.fill_(3e38)  # finite, but nothing that is multiplied by it is
    teacher.save_pretrained(tmp_path / "nan")
    with pytest.raises(UserError, match=r"nan gives \[-?(nan|inf), .* for .*SST-2/train.tsv, line \d+: "):
        prepared(root, "--teacher", f"SST-2={tmp_path / 'nan'}")


def test_architecture_and_task_belong_together(root, tmp_path):
    one = classification(
        root / "glue" / "SST-2", tmp_path / "s", "--arch", "multitask_bert", bert=root / "encoder"
    )
    status, errors = exit_of(train, *one)
    assert status == 1 and "multitask_bert: --task classification_kd trains one task" in errors
    several = multitask(
        root,
        tmp_path / "s",
        "--arch",
        "bert_classifier",
        corpora="SST-2",
        criterion="sentence_classification",
    )
    status, errors = exit_of(train, *several)
    assert status == 1 and "multitask_kd: --arch bert_classifier has one head" in errors
