"""tie_kd in fairseq-train: teachers of every kind beside the student, further passes, and what is refused."""

import contextlib
import re

import fairseq_cli.train
import numpy as np
import pytest
import torch
from fairseq_runs import TINY_STUDENT, build_task, exit_of, run_train
from tiny_next_tokens import LSTM, naive_logits, train_translator, write_data

from cmlm_kd.api.needs import Request
from cmlm_kd.api.next_tokens import Pairs, TeacherOptions, TranslationData
from cmlm_kd.api.sources import TeacherBatch
from cmlm_kd.teachers.kinds import load_teachers
from cmlm_kd.teachers.online import OnlineTeacher
from fairseq_plugins.models.encoding import Encoding, with_history

DEEP = (*TINY_STUDENT, "--encoder-layers", 2, "--decoder-layers", 2, "--encoder-embed-dim", 24,
        "--decoder-embed-dim", 24)  # fmt: skip
ADAPTIVE = ("--adaptive-softmax-cutoff", "6,8", "--adaptive-softmax-dropout", 0)


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A data-bin, a deeper and wider teacher, and an LSTM."""
    root = tmp_path_factory.mktemp("tie")
    data = write_data(root / "data")
    train_translator(root / "deep", data, "--seed", 1, model=DEEP)
    train_translator(root / "lstm", data, "--seed", 2, model=LSTM)
    return root


def checkpoint(road, name):
    return road / name / "checkpoint_last.pt"


def flags(road, save_dir, *more, teachers=("deep",), student=TINY_STUDENT):
    beside = ",".join(str(checkpoint(road, name)) for name in teachers)
    return (
        *(road / "data", "--task", "translation_kd", "--criterion", "tie_kd", *student, "--kd-topk", 3),
        *("--online-teacher", beside, "--max-tokens", 200, "--max-update", 2, "--save-dir", save_dir),
        *("--no-progress-bar", "--no-epoch-checkpoints", *more),
    )


def first_meters(save_dir):
    state = torch.load(save_dir / "checkpoint_last.pt", weights_only=False)
    meters = dict((entry[1], entry[3]) for entry in state["extra_state"]["metrics"]["train"])
    return {
        name: float(meter["sum"] / meter["count"]) for name, meter in meters.items() if meter.get("count")
    }


@pytest.mark.parametrize(
    ("more", "given"),
    [
        ((), {}),
        (("--kd-iterations", 1, "--kd-mode", "original"), {"teachers": ["lstm"]}),
        (("--kd-implementation", "dense"), {"teachers": ["deep", "lstm"]}),
        (("--left-pad-target", "--kd-alpha", 1), {"student": LSTM}),
        (ADAPTIVE, {"student": (*TINY_STUDENT, "--criterion", "tie_kd")}),
    ],
    ids=["default", "an LSTM teaches", "two teach", "an LSTM learns", "adaptive softmax"],
)
def test_it_trains_and_resumes(road, tmp_path, more, given):
    run_train(*flags(road, tmp_path, *more, **given))
    found = first_meters(tmp_path)
    assert found["kd_kl"] > 0 and found["ranking_loss"] > 0 and 0 <= found["agreement"] <= 1
    run_train(*flags(road, tmp_path, *more, "--max-update", 3, **given))
    again = torch.load(tmp_path / "checkpoint_last.pt", weights_only=False)
    assert again["optimizer_history"][-1]["num_updates"] == 3


def test_both_implementations_find_the_same(road, tmp_path):
    still = ("--lr", 1e-9, "--max-update", 1, "--dropout", 0, "--disable-validation")
    found = []
    for form in ("fused", "dense"):
        run_train(*flags(road, tmp_path / form, *still, "--kd-implementation", form))
        found.append(first_meters(tmp_path / form))
    for name in ("loss", "kd_kl", "ranking_loss", "nll_loss", "agreement"):
        assert found[0][name] == pytest.approx(found[1][name], abs=1e-3), name


def test_without_alpha_it_needs_no_teacher(road, tmp_path):
    given = list(flags(road, tmp_path, "--kd-alpha", 0))
    place = given.index("--online-teacher")
    given[place : place + 2] = ("--soft-targets", "none")
    run_train(*given)
    assert "kd_kl" not in first_meters(tmp_path)


@pytest.mark.parametrize("model", [TINY_STUDENT, LSTM], ids=["transformer", "lstm"])
@pytest.mark.parametrize("left", [(), ("--left-pad-target",)], ids=["right", "left"])
def test_a_decoder_asked_again_reads_the_other_tokens_and_the_same_source(road, model, left):
    task, cfg = build_task(road / "data", "--task", "translation", *model, *left)
    translator = task.build_model(cfg.model).eval()
    task.load_dataset("valid")
    dataset = task.dataset("valid")
    batch = dataset.collater([dataset[row] for row in range(len(dataset))])
    inputs, padding = batch["net_input"], task.target_dictionary.pad()
    other = dataset.collater(
        [{**dataset[row], "target": _other(dataset[row])} for row in range(len(dataset))]
    )
    encoding, encoded = Encoding(translator.encoder), []
    with encoding.kept():
        translator(**inputs)
    handle = translator.encoder.register_forward_pre_hook(lambda *_: encoded.append(1))
    with encoding.in_place():
        found = translator(**with_history(inputs, other["target"], padding))[0]
    handle.remove()
    wanted = translator(**other["net_input"])[0]
    real = other["target"].ne(padding)
    torch.testing.assert_close(found[real], wanted[real])
    assert not translator.encoder._forward_hooks and "forward" not in vars(translator.encoder)


def _other(row):
    """Return other words of the same number, and the end."""
    target = row["target"].clone()
    target[:-1] = (target[:-1] - 3) % 4 + 4
    return target


@pytest.mark.parametrize("names", [("deep",), ("lstm",), ("deep", "lstm")], ids="+".join)
def test_what_a_teacher_says_of_all_entries(road, names):
    data = TranslationData(road / "data", "de", "en", 10)
    paths = [str(checkpoint(road, name)) for name in names]
    teacher = load_teachers(paths, data, TeacherOptions())
    vocabulary = len((road / "data" / "dict.en.txt").read_text().splitlines()) + 4
    source = OnlineTeacher(teacher, vocabulary, (1.0,))
    rows = [np.array(row) for row in ([4, 5, 6, 2], [7, 2], [5, 5, 2])]
    width = max(map(len, rows))
    padded = torch.tensor([[*row, *[1] * (width - len(row))] for row in rows])
    batch = TeacherBatch(torch.arange(3), {"src_tokens": padded}, padded, 1)
    request = Request(whole_distribution=True, other_histories=True)
    said = torch.tensor([[5, 4, 7, 2], [4, 2, 1, 1], [6, 7, 2, 1]])
    signal = source.signal(batch, request)
    for target, found in ((padded, signal), (said, signal.again(said))):
        targets = [row[row.ne(1)].numpy() for row in target]
        pairs = Pairs(rows, targets)
        wanted = teacher.next_tokens(pairs).logits.log_softmax(-1)
        logits = found.only_output.vocabulary_logits()
        torch.testing.assert_close(logits.log_softmax(-1), wanted.clone(), rtol=1e-4, atol=1e-5)
        assert found.only_output.positions.tolist() == target.flatten().ne(1).nonzero().squeeze(1).tolist()
        assert not logits.requires_grad and not logits.is_inference()
    if names == ("deep",):
        assert signal.only_output.logits is None  # features: a batch times the vocabulary is never there
        alone = naive_logits(teacher.model, rows[0], rows[0])
        first = signal.only_output.vocabulary_logits()[:4]
        torch.testing.assert_close(first, alone, rtol=1e-4, atol=1e-5)


def test_a_cache_does_not_have_the_whole_distribution(road, tmp_path):
    with contextlib.chdir(tmp_path):
        status, errors = exit_of(fairseq_cli.train, *flags(road, tmp_path), "--teacher-cache", "cache")
    assert status != 0 and "reads what it says of all entries; leave --teacher-cache out" in errors, errors
    assert not list(tmp_path.glob("cache*"))


@pytest.mark.parametrize("source", [("--soft-targets", "none"), ("--soft-targets", "STORE")])
def test_a_store_is_refused_before_training(road, tmp_path, source):
    given = list(flags(road, tmp_path))
    place = given.index("--online-teacher")
    given[place : place + 2] = source
    with contextlib.chdir(tmp_path):
        status, errors = exit_of(fairseq_cli.train, *given)
    assert status != 0 and "which no store has; name a translator with --online-teacher" in errors, errors
    assert not list(tmp_path.glob("*.pt"))


def test_more_entries_than_there_are_are_refused_before_training(road, tmp_path):
    status, errors = exit_of(fairseq_cli.train, *flags(road, tmp_path, "--kd-topk", 5000))
    assert status != 0
    assert re.search(r"--kd-topk is 5000, but student .* chooses from \d+ entries", errors), errors


def test_a_teacher_that_gives_no_finite_number_is_named(road, tmp_path):
    state = torch.load(checkpoint(road, "deep"), weights_only=False)
    state["model"]["decoder.layers.0.fc1.weight"].fill_(3e38)
    (tmp_path / "broken").mkdir()
    torch.save(state, tmp_path / "broken" / "checkpoint_last.pt")
    given = list(flags(road, tmp_path / "student"))
    given[given.index("--online-teacher") + 1] = tmp_path / "broken" / "checkpoint_last.pt"
    status, errors = exit_of(fairseq_cli.train, *given)
    assert status != 0 and re.search(r"broken.* gives nan for token 0 of pair \d+", errors), errors
