"""Datasets and text encoders of cmlm-kd, adapted to fairseq."""
