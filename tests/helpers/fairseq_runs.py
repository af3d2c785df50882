"""fairseq's commands, run inside the test process."""

import contextlib
import io
import logging
import sys
from pathlib import Path
from unittest import mock

from fairseq import checkpoint_utils, options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq_cli import generate, interactive, train

USER_DIR = Path(__file__).resolve().parents[2] / "fairseq_plugins"

# Otherwise fairseq 0.12 leaves out the last batch of a data set, when its size is not a multiple of 8.
COMMON = ("--user-dir", USER_DIR, "--required-batch-size-multiple", 1)

# No process to start, and none to wait for when a run ends in the middle of an epoch; a test's own flag wins.
NO_WORKERS = ("--num-workers", 0)

TINY_SIZES = (
    *("--encoder-layers", 1, "--decoder-layers", 1, "--encoder-embed-dim", 16, "--decoder-embed-dim", 16),
    *("--encoder-ffn-embed-dim", 16, "--decoder-ffn-embed-dim", 16),
    *("--encoder-attention-heads", 2, "--decoder-attention-heads", 2),
)
TINY_STUDENT = (
    *("--arch", "transformer_iwslt_de_en", *TINY_SIZES, "--optimizer", "adam", "--lr", 0.001, "--cpu"),
)


def config(parser, *flags):
    """Parse flags of a fairseq command as its command line would."""
    arguments = [str(flag) for flag in (*NO_WORKERS, *flags, *COMMON)]
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, arguments))


def run_train(*flags):
    """Run fairseq-train."""
    vars(checkpoint_utils.save_checkpoint).pop("best", None)  # that of the run before in this process
    with contextlib.redirect_stdout(io.StringIO()):
        train.main(config(options.get_training_parser(), *flags))


def run_generate(*flags):
    """Run fairseq-generate and return what it prints."""
    output = io.StringIO()
    level = logging.getLogger().level
    with contextlib.redirect_stdout(output):
        generate.main(config(options.get_generation_parser(), *flags))
    logging.getLogger().setLevel(level)
    return output.getvalue()


def build_task(*flags):
    """Build a task from fairseq-train's flags; returns it with the whole configuration."""
    whole = config(options.get_training_parser(), *flags)
    return tasks.setup_task(whole.task), whole


def run_interactive(text_file, *flags):
    """Run fairseq-interactive on a file of raw text and return what it prints."""
    output = io.StringIO()
    level = logging.getLogger().level
    with contextlib.redirect_stdout(output):
        interactive.main(config(options.get_interactive_generation_parser(), *flags, "--input", text_file))
    logging.getLogger().setLevel(level)
    return output.getvalue()


def exit_of(command, *flags):
    """Run a command of fairseq as its console script does; returns exit status and standard error.

    Args:
        command: module of the command, such as ``fairseq_cli.train``.
        flags: what stands behind it on the command line.
    """
    name = "fairseq-" + command.__name__.rsplit(".", 1)[-1]
    errors = io.StringIO()
    arguments = [name, *map(str, (*NO_WORKERS, *flags, *COMMON))]
    with (
        mock.patch.object(sys, "argv", arguments),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(errors),
    ):
        try:
            command.cli_main()
            status = 0
        except SystemExit as ending:
            status = ending.code
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)  # what Python does at the end
            status = 1
    return status, errors.getvalue()
