"""The one exception of the toolkit that speaks to its users."""


class UserError(Exception):
    """Something the user gave does not fit.

    The message names the command or criterion, the thing, its value, what is allowed and what to do next. The
    ``cmlm-kd`` command prints it as one line and exits with status 2, without a traceback; fairseq's commands
    print it so too, and exit with status 1 (:mod:`fairseq_plugins.command_line.user_errors`).
    """


def first_line(error: BaseException) -> str:
    """Return what another library's exception says, as part of a message of ours: its first line of text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".:") if lines else type(error).__name__
