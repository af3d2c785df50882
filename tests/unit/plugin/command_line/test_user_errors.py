"""What fairseq's commands print when they end in a UserError, and in anything else."""

import sys

import pytest
import torch
from fairseq.scoring.bleu import SacrebleuConfig, SacrebleuScorer
from fairseq_cli import generate, interactive, train
from fairseq_runs import exit_of
from torch.multiprocessing import ProcessRaisedException, start_processes

from cmlm_kd.errors import UserError, first_line, one_line
from fairseq_plugins.command_line.user_errors import (
    UserErrorInStep,
    print_user_errors,
    user_message,
    without_crash_file,
)

MESSAGE = "soft_target_kd: --kd-alpha is 2.0; it must be in [0, 1]"


class Unreadable(torch.utils.data.Dataset):
    """A data set whose only item cannot be read, by the user's fault or by ours."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise self.error


def in_a_process(rank, error):
    raise error


def from_a_worker(error):
    """Return the exception that a data loader makes of its worker's."""
    with pytest.raises(type(error)) as caught:
        next(iter(torch.utils.data.DataLoader(Unreadable(error), num_workers=1)))
    return caught.value


def from_a_process(error):
    """Return the exception that fairseq, with one process a GPU, makes of a process's."""
    with pytest.raises(ProcessRaisedException) as caught:
        start_processes(in_a_process, (error,), nprocs=1, start_method="fork")
    return caught.value


def directly(error):
    return error


@pytest.mark.parametrize("travelled", [directly, from_a_worker, from_a_process])
def test_the_message_and_nothing_else(travelled):
    assert user_message(travelled(UserError(MESSAGE))) == MESSAGE


@pytest.mark.parametrize("travelled", [directly, from_a_process])
def test_what_ends_a_step_is_what_fairseq_makes_no_crash_file_of(travelled):
    with pytest.raises(RuntimeError) as caught, without_crash_file(), without_crash_file():
        raise UserError(MESSAGE)
    assert isinstance(caught.value, UserErrorInStep)
    assert user_message(travelled(caught.value)) == MESSAGE
    with pytest.raises(KeyError), without_crash_file():
        raise KeyError(MESSAGE)


@pytest.mark.parametrize("travelled", [directly, from_a_worker, from_a_process])
def test_faults_of_ours_are_not_for_the_user(travelled):
    assert user_message(travelled(ValueError(MESSAGE))) is None


@pytest.mark.parametrize(
    ("command", "flags", "said"),
    [
        (train, (), "pass --max-tokens or --batch-size"),
        (generate, (), "pass --path"),
        (generate, ("--path", "x", "--sampling", "--nbest", "2"), "pass the same as --nbest"),
        (interactive, ("--path", "x", "--batch-size", "8"), "pass a --buffer-size"),
    ],
)
def test_assertions_of_fairseq_about_flags(tmp_path, command, flags, said):
    more = ("--task", "translation", "--arch", "transformer") if command is train else ()
    status, errors = exit_of(command, tmp_path, *more, *flags, "--cpu")
    assert status == 1 and said in errors.splitlines()[-1] and "Traceback" not in errors


def test_an_alignment_dictionary_that_nobody_named():
    message = user_message(FileNotFoundError(2, "No such file or directory", "@@ "))
    assert "that is the default of --replace-unk" in message and message.endswith("or leave it out")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--dropout", "2"), "--dropout is 2.0; it must be a number from 0 to 1"),
        (("--encoder-layers", "1000000"), "--encoder-layers is 1000000; it must be a whole number from 0 to"),
        (("--update-freq", "2,0"), "--update-freq is [2, 0]; it must be from 1 to"),
        (("--seed", "-1"), "--seed is -1; it must be from 0 to"),
        (("--num-workers", "100000"), "--num-workers is 100000; it must be from 0 to 1,000"),
    ],
)
def test_numbers_that_cannot_be(tmp_path, flags, said):
    given = ("--task", "translation", "--arch", "transformer", "--max-tokens", 90, "--cpu", *flags)
    status, errors = exit_of(train, tmp_path, *given)
    assert status == 2 and f"fairseq-train: {said}" in errors.splitlines()[-1]


def test_an_embedding_that_the_heads_cannot_share():
    error = AssertionError("embed_dim must be divisible by num_heads")
    assert "--encoder-embed-dim and --decoder-embed-dim are multiples of" in user_message(error)


def test_a_bug_met_while_reporting_is_a_bug():
    text = (
        f"Traceback (most recent call last):\n\ncmlm_kd.errors.UserError: {MESSAGE}\n\nDuring handling ...\n"
    )
    text += "Traceback (most recent call last):\nKeyError: 'k'"
    assert user_message(ProcessRaisedException(text, 0, 1)) is None


def test_a_model_that_is_not_there():
    message = user_message(OSError("Model file not found: gone.pt"))
    assert message.startswith("Model file not found: gone.pt; give a file")


def test_sizes_that_no_memory_holds():
    message = user_message(
        RuntimeError('empty(): argument failed with error "Overflow when unpacking long\n"')
    )
    assert message.startswith("not enough memory (empty(): ") and message.endswith("; ask for less at once")
    assert user_message(RuntimeError("something else")) is None


def test_the_hook_prints_one_line_and_hands_everything_else_on(monkeypatch, capsys):
    handed_on = []
    monkeypatch.setattr(sys, "excepthook", lambda *given: handed_on.append(given))
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/fairseq-train", "data"])
    print_user_errors()
    sys.excepthook(UserError, UserError(MESSAGE), None)
    assert capsys.readouterr().err == f"fairseq-train: {MESSAGE}\n" and not handed_on
    sys.excepthook(UserError, UserError("a:\n\tb"), None)
    assert capsys.readouterr().err == "fairseq-train: a: b\n"
    bug = KeyError("k")
    sys.excepthook(KeyError, bug, None)
    assert handed_on == [(KeyError, bug, None)] and not capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("bad.\nand why:\n"), "bad"),
        (OSError(2, "No such file", "x"), "[Errno 2] No such file: 'x'"),
        (RuntimeError("\n  deep inside:\n"), "deep inside"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_the_first_line_of_an_exception(error, line):
    assert first_line(error) == line


def test_a_tokenizer_of_bleu_whose_packages_are_not_there():
    with pytest.raises(RuntimeError) as caught:
        SacrebleuScorer(SacrebleuConfig(sacrebleu_tokenizer="ko-mecab")).score()
    message = first_line(UserError(one_line(user_message(caught.value))))
    assert "pip install sacrebleu[ko]" in message
    assert message.endswith("or choose another --sacrebleu-tokenizer, such as char")
