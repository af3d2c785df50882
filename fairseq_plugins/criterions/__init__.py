"""The criterions of cmlm-kd, adapted to fairseq."""
