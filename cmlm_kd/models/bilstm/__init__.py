"""The BiLSTM classifier of Tang et al., over words."""

from cmlm_kd.models.bilstm.directory import load_bilstm

__all__ = ["load_bilstm"]
