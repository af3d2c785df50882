"""Pairs of sentences in a teacher's tokens, as a binarised corpus of fairseq."""
