"""Translation by fairseq's models, for ``cmlm-kd translate``."""
