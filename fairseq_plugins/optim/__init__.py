"""The optim of cmlm-kd, adapted to fairseq."""
