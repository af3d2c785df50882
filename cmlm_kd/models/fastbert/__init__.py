"""FastBERT: an encoder with a classifier on every layer."""

from cmlm_kd.models.fastbert.directory import load_fastbert

__all__ = ["load_fastbert"]
