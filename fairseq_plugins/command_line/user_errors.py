"""One clear line, instead of a traceback, where a command of fairseq ends in a ``UserError``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from torch.multiprocessing.spawn import ProcessRaisedException

from cmlm_kd.errors import UserError, memory_message, one_line, os_error_message, os_error_of


class UserErrorInStep(UserError, RuntimeError):
    """A ``UserError`` of a training step.

    fairseq writes the whole training into ``crash.pt`` at whatever ends a step but a ``RuntimeError``. What
    the user has to correct is no crash, and the checkpoints there are as good as that file.
    """


_NAMES = tuple(f"\n{kind.__module__}.{kind.__qualname__}: " for kind in (UserError, UserErrorInStep))
_TRACEBACK = "Traceback (most recent call last)"


_NOT_LOADED = "Cannot load model parameters from checkpoint"
"""Words of fairseq's in the place of whatever a model or a criterion says of a checkpoint's weights."""


_ADVICE = {
    "Model file not found: ": "give a file that fairseq-train wrote, such as checkpoint_best.pt of its "
    "--save-dir",
    "Dataset not found: ": "give a --gen-subset that 'cmlm-kd prepare' wrote there, or prepare the data "
    "again",
    "[Errno 2] No such file or directory: '@@ '": "that is the default of --replace-unk, which is a file of "
    "words and their translations, two a line: name one behind the flag, or leave it out",
    **{
        f"{language} tokenization requires extra": "or choose another --sacrebleu-tokenizer, such as char"
        for language in ("Japanese", "Korean")
    },
    "Could not infer language pair": "no split lies there; give a folder that 'cmlm-kd prepare' wrote, or -s "
    "and -t",
}
"""How fairseq begins to say that something is not there -> what there is to do."""


_ASSERTIONS = {
    "Index file doesn't match": "an .idx file of the data-bin is none of --dataset-impl mmap: prepare the "
    "data again",
    "Must specify batch size": "nothing says how large a batch is: pass --max-tokens or --batch-size",
    "embed_dim must be divisible": "--encoder-embed-dim and --decoder-embed-dim are multiples of "
    "--encoder-attention-heads and --decoder-attention-heads: change one of them",
    "--path required": "no model is named: pass --path with a checkpoint",
    "--batch-size cannot be larger": "--batch-size is larger than --buffer-size: pass a --buffer-size as "
    "large, or larger",
    "--sampling requires": "--sampling gives as many translations as --beam says: pass the same as --nbest",
    "--replace-unk requires a raw": "--replace-unk reads raw text, which prepared data are not; leave it "
    "out: pieces of words have few unknown ones, and 'cmlm-kd score' says how many",
    "Criterion does not match": "the checkpoint was trained with another --criterion, whose optimizer is of "
    "no use to this one: give another --save-dir and the checkpoint as --finetune-from-model, or "
    "--reset-optimizer",
    "Optimizer does not match": "the checkpoint was trained with another --optimizer, whose moments are of "
    "no use to this one: give the same, or --reset-optimizer",
}
"""How an assertion of fairseq about the user's choices begins -> what there is to do."""


def user_message(error: BaseException) -> str | None:
    """Return what an exception has to say to the user; None if it is nothing that the user can mend.

    That is a ``UserError``, and what the operating system refuses, such as a full disk.

    Data loaders and fairseq's one process a GPU hand the traceback of a worker on as the text of a new
    exception: what counts is the last one in it.
    """
    text = str(error).strip()
    if text.startswith(_NOT_LOADED) and isinstance(error.__context__, UserError):
        return user_message(error.__context__)
    if text.startswith(_NOT_LOADED) and isinstance(error.__context__, RuntimeError):
        reason = " ".join(str(error.__context__).split())[:300]
        return f"{text.partition(';')[0]} ({reason}); give the --arch and sizes that it was trained with"
    if isinstance(error, UserError) and _TRACEBACK not in text:
        return text
    if isinstance(error, UserError | ProcessRaisedException):
        message = min((text.rpartition(name)[2] for name in _NAMES), key=len)
        if len(message) < len(text) and _TRACEBACK not in message:
            return message.strip()
    if isinstance(error, AssertionError):
        return next((said for begin, said in _ASSERTIONS.items() if text.startswith(begin)), None)
    if isinstance(error, UnicodeDecodeError):
        return f"a text that is read is not UTF-8 ({text}); convert it to UTF-8"
    advice = next((said for begin, said in _ADVICE.items() if text.startswith(begin)), None)
    if advice is not None:
        return f"{text}; {advice}"
    memory = memory_message(error)
    if memory is not None:
        return memory
    refused = os_error_of(error) if isinstance(error, OSError) or text.startswith("Symlink loop") else None
    return None if refused is None else os_error_message(refused)


@contextlib.contextmanager
def without_crash_file() -> Iterator[None]:
    """Let a ``UserError`` end a training step without a ``crash.pt``; also a decorator."""
    try:
        yield
    except UserErrorInStep:
        raise
    except UserError as error:
        raise UserErrorInStep(str(error)) from error


def print_user_errors() -> None:
    """Let what the user can mend end the process with one line; all else keeps its traceback."""
    former = sys.excepthook

    def report(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        message = user_message(error)
        if message is None:
            former(kind, error, traceback)
        else:
            print(f"{Path(sys.argv[0]).name}: {one_line(message)}", file=sys.stderr)

    sys.excepthook = report
