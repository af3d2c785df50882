"""The sub-commands of ``cmlm-kd``, one module each (see :mod:`cmlm_kd.cli`)."""
