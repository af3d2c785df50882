"""The version of cmlm-kd."""

__version__ = "0.1.0"
