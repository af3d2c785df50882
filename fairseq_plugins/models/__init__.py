"""The models of cmlm-kd, adapted to fairseq."""
