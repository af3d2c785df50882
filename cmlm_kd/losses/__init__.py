"""The losses as pure functions of tensors, dense and fused with the output layer."""

from cmlm_kd.losses.sparse_kd import IGNORED, sparse_kd_loss

__all__ = ["IGNORED", "sparse_kd_loss"]
