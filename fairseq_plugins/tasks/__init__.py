"""The tasks of cmlm-kd, adapted to fairseq."""
