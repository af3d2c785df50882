"""``python -m cmlm_kd`` is the ``cmlm-kd`` command."""

from cmlm_kd.cli import entry_point

entry_point()
