"""The one exception of the toolkit that speaks to its users."""


class UserError(Exception):
    """Something the user gave does not fit.

    The message names the command or criterion, the thing, its value, what is allowed and what to do next. The
    ``cmlm-kd`` command prints it as one line and exits with status 2, without a traceback; fairseq's commands
    print it so too, and exit with status 1 (:mod:`fairseq_plugins.user_errors`).
    """
