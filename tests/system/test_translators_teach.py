"""A translator teaches: a student that hears what it says about targets drawn by lot translates, one that
learns those targets does not."""

import pytest
import torch
from word_translators import accuracy, dump, make_corpora, train

from cmlm_kd.api.needs import Request
from cmlm_kd.api.next_tokens import TeacherOptions, TranslationData
from cmlm_kd.teachers.kinds import load_teachers


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_corpora(tmp_path_factory.mktemp("teach"))


def teacher(root):
    return root / "teacher" / "checkpoint_last.pt"


def test_a_student_learns_from_a_translator(root):
    assert accuracy(root, teacher(root)) > 0.9
    store = dump(root, "store", teacher(root), "by-lot")
    taught = train(root, "taught", "by-lot", "--soft-targets", store, "--kd-alpha", 1, "--kd-temperature", 1)
    alone = train(root, "alone", "by-lot", "--soft-targets", "none", "--kd-alpha", 0)
    assert accuracy(root, taught) > 0.9 > 0.6 > accuracy(root, alone)


def test_a_student_learns_where_it_is_unsure(root):
    """Labels drawn by lot keep it unsure everywhere; with alpha 1 those that listen learn from the teacher
    alone, those that do not from their meaningless label."""
    store = root / "store"
    if not store.is_dir():
        dump(root, "store", teacher(root), "by-lot")
    flags = ("--kd-selection", "global", "--kd-share", 0.9, "--kd-queue", 2000)
    taught = train(
        *(root, "selective", "by-lot", "--soft-targets", store, "--kd-alpha", 1),
        *("--kd-temperature", 1, *flags),
        criterion="selective_kd",
    )
    assert accuracy(root, taught) > 0.9


def inside(root, checkpoint):
    """Return the last states of an encoder and a decoder on some sentences, ``(B, L, d)`` each."""
    data = TranslationData(root / "clean", "de", "en", 10)
    model = load_teachers([str(checkpoint)], data, TeacherOptions())
    source = torch.tensor([[4 + n % 6, 4 + n // 6, 2] for n in range(36)])
    inputs = {"src_tokens": source, "src_lengths": torch.full((36,), 3), "prev_output_tokens": source}
    output, _ = model.look_inside(
        inputs,
        source.ne(1),
        Request(hidden_states=(1,), encoder=Request(hidden_states=(1,)), predictions="none"),
    )
    return output.encoder.hidden_states[1], output.hidden_states[1]


def test_a_student_comes_near_to_the_inside_that_it_imitates(root):
    beside = ("--online-teacher", teacher(root), "--kd-alpha", 1, "--kd-temperature", 1)
    near = train(
        *(root, "near", "by-lot", *beside, "--kd-projection", "none", "--kd-hidden-weight", 3),
        criterion="hidden_state_kd",
    )
    far = train(root, "far", "by-lot", *beside)
    assert accuracy(root, near) > 0.9
    wanted = inside(root, teacher(root))
    distances = [
        [(mine - theirs).square().mean().item() for mine, theirs in zip(found, wanted, strict=True)]
        for found in (inside(root, near), inside(root, far))
    ]
    assert all(close < 0.5 * distant for close, distant in zip(*distances, strict=True)), distances


def test_a_student_that_starts_from_its_layers_translates_at_once(root):
    labels = ("--soft-targets", "none", "--kd-alpha", 0, "--lr", 1e-6)
    started = train(root, "started", "clean", *labels, "--init-from", teacher(root), updates=1)
    assert accuracy(root, started) > 0.9


def test_a_student_learns_after_its_own_words(root):
    """With alpha 1 the meaningless labels are heard nowhere, and read in the first iteration alone."""
    beside = ("--online-teacher", teacher(root), "--kd-alpha", 1, "--kd-iterations", 2)
    taught = train(root, "ranked", "by-lot", *beside, criterion="tie_kd")
    assert accuracy(root, taught) > 0.9
