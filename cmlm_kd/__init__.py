"""cmlm-kd: move what BERT-like models know into small, fast models."""

from cmlm_kd.version import __version__

__all__ = ["__version__"]
