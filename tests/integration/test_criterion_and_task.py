"""Criteria and tasks that do not go together: refused before training, in one line that names both."""

from dataclasses import dataclass

import pytest
import torch
from fairseq.tasks import TASK_REGISTRY, register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from fairseq_cli import train, validate
from fairseq_runs import TINY_STUDENT, exit_of, run_train
from tiny_classification import classification
from tiny_inputs import write_inputs_of_all_tasks
from tiny_multitask import multitask

from cmlm_kd.api import CriterionOutput, KDCriterion, Needs, Request, SoftTargets, TeacherSignal, kd_criteria

MULTILINGUAL = ("translation_multi_simple_epoch", "--lang-pairs", "de-en", "--langs", "de,en",
                "--encoder-langtok", "src")  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    write_inputs_of_all_tasks(root)
    return root


def translation(root, save_dir, criterion, task, *flags):
    task = (task,) if isinstance(task, str) else task
    return (
        *(root / "data", "--task", *task, "--criterion", criterion, *TINY_STUDENT, "--max-tokens", 90),
        *("--max-update", 1, "--no-epoch-checkpoints", "--save-dir", save_dir, *flags),
    )


@pytest.fixture
def refused(monkeypatch):
    """The one line with which a training ends before its first batch."""

    def began(*_passed):
        raise AssertionError("the training began")

    def ending(*flags):
        with monkeypatch.context() as patched:
            patched.setattr(train, "train", began)
            status, errors = exit_of(train, *flags)
        assert status == 1 and "Traceback" not in errors, errors
        return errors.splitlines()[-1]

    return ending


NONE = ("translation_kd", "--soft-targets", "none")
A_STORE = "--task translation_kd --soft-targets STORE"
ONLINE = "--task translation_kd --online-teacher"


@pytest.mark.parametrize(
    ("criterion", "task", "where", "remedies"),
    [
        ("soft_target_kd", "translation", "--task translation", (A_STORE, "--kd-alpha 0")),
        ("selective_kd", "translation", "--task translation", (A_STORE, "--kd-alpha 0")),
        ("tie_kd", "translation", "--task translation", (f"{ONLINE} MODEL", "--kd-alpha 0")),
        ("hidden_state_kd", "translation", "--task translation", (f"{ONLINE} CHECKPOINT", "soft_target_kd")),
        ("soft_target_kd", "translation_lev", "--task translation_lev", (A_STORE,)),
        ("soft_target_kd", MULTILINGUAL, f"--task {MULTILINGUAL[0]}", (A_STORE,)),
        ("tie_kd", MULTILINGUAL, f"--task {MULTILINGUAL[0]}", (f"{ONLINE} MODEL",)),
        ("soft_target_kd", NONE, "--soft-targets none", (A_STORE, "--kd-alpha 0")),
        ("selective_kd", NONE, "--soft-targets none", (A_STORE, "--kd-alpha 0")),
    ],
)
def test_a_task_without_a_teacher(root, tmp_path, refused, criterion, task, where, remedies):
    line = refused(*translation(root, tmp_path / "s", criterion, task))
    assert f"{criterion}: {where} has no teacher; train with" in line
    assert all(remedy in line for remedy in remedies), line


def test_alpha_0_leaves_the_teacher_of_hidden_states_in(root, tmp_path, refused):
    flags = translation(root, tmp_path / "s", "hidden_state_kd", "translation", "--kd-alpha", 0)
    assert "hidden_state_kd: --task translation has no teacher" in refused(*flags)


@pytest.mark.parametrize("task", ["translation", NONE, MULTILINGUAL], ids=["translation", "none", "several"])
@pytest.mark.parametrize("criterion", ["soft_target_kd", "selective_kd", "tie_kd"])
def test_without_alpha_no_teacher_is_missed(root, tmp_path, criterion, task):
    run_train(*translation(root, tmp_path / "s", criterion, task, "--kd-alpha", 0))
    assert (tmp_path / "s" / "checkpoint_last.pt").is_file()


def test_a_distilled_student_is_validated_by_fairseqs_own_task(root, tmp_path):
    """fairseq-validate builds the criterion of the checkpoint, which then reads no teacher."""
    stored = ("translation_kd", "--soft-targets", root / "store", "--kd-topk", 3)
    run_train(*translation(root, tmp_path / "s", "soft_target_kd", stored))
    flags = ("--path", tmp_path / "s" / "checkpoint_last.pt", "--valid-subset", "valid", "--max-tokens", 90)
    assert exit_of(validate, root / "data", "--task", "translation", *flags, "--cpu")[0] == 0


def test_a_users_own_task_may_bring_a_teacher(root, tmp_path):
    if "translation_by_hand" not in TASK_REGISTRY:
        register_task("translation_by_hand", dataclass=TranslationConfig)(TranslationByHand)
    run_train(*translation(root, tmp_path / "s", "soft_target_kd", "translation_by_hand", "--kd-topk", 2))
    assert (tmp_path / "s" / "checkpoint_last.pt").is_file()


class TranslationByHand(TranslationTask):
    def train_step(self, sample, *passed, **named):
        shape = sample["target"].shape
        ids, valid = torch.zeros(*shape, 2, dtype=torch.long), torch.ones(shape, dtype=torch.bool)
        ids[..., 1] = 5
        targets = SoftTargets(ids, torch.zeros(*shape, 2), torch.zeros(*shape, 0), valid, ())
        sample["teacher"] = TeacherSignal(soft_targets=targets)
        return super().train_step(sample, *passed, **named)


@dataclass(frozen=True)
class UntoldConfig:
    kd_share: float = 0.5


class UntoldKD(KDCriterion):
    """A criterion of a user's that says what it reads, and nothing of tasks."""

    def needs(self, student, teacher):
        return Needs(teacher=Request())

    def training_loss(self, student, target, teacher):
        return CriterionOutput(teacher.soft_targets.logits.sum(), {})

    def validation_loss(self, student, target):
        return CriterionOutput(student.logits.sum(), {})


def test_a_users_own_criterion_is_known_by_what_it_needs(root, tmp_path, refused):
    if "untold_kd" not in kd_criteria:
        kd_criteria.register("untold_kd", config=UntoldConfig)(UntoldKD)
    line = refused(*translation(root, tmp_path / "s", "untold_kd", "translation"))
    assert "untold_kd: reads a teacher, and --task translation has none; train with" in line


def flags_of(kind, root, save_dir):
    if kind == "classification_kd":
        return classification(root / "sst", save_dir, bert=root / "encoder", corpus="SST-2")
    if kind == "multitask_kd":
        return multitask(root, save_dir, corpora="SST-2,QNLI", criterion="sentence_classification")
    return (
        *(root / "text", "--task", "masked_lm_kd", "--arch", "bert_masked_lm", "--bert", root / "mlm"),
        *("--optimizer", "bert_adamw", "--cpu", "--batch-size", 4, "--save-dir", save_dir),
    )


@pytest.mark.parametrize("criterion", ["cross_entropy", "sentence_prediction", "masked_lm", "cmlm"])
@pytest.mark.parametrize("task", ["classification_kd", "multitask_kd", "masked_lm_kd"])
def test_criteria_that_know_nothing_of_our_students(root, tmp_path, refused, task, criterion):
    line = refused(*flags_of(task, root, tmp_path / "s"), "--criterion", criterion)
    of_text = task == "masked_lm_kd"
    level, one, other = (
        ("text", "bert_mlm", "pkd") if of_text else ("sentences", "sentence_classification", "soft_target_kd")
    )
    assert f"{criterion}: is no loss over {level}, on which --task {task} trains; take one of " in line
    assert one in line and other not in line


@pytest.mark.parametrize("task", ["translation", NONE, MULTILINGUAL], ids=["translation", "none", "several"])
def test_a_c_mlm_needs_its_own_task(root, tmp_path, refused, task):
    line = refused(*translation(root, tmp_path / "s", "cmlm", task))
    assert "cmlm: trains a BERT on masked target tokens" in line and "take --task cmlm" in line


def test_levels_are_named_of_tasks_that_have_no_settings(root, tmp_path, refused):
    line = refused(*translation(root, tmp_path / "s", "pkd", MULTILINGUAL))
    assert f"pkd: is a loss over sentences, but --task {MULTILINGUAL[0]} trains on tokens" in line
