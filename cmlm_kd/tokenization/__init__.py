"""Tokenizers of teachers and students: tokens that begin words, spellings, vocabularies."""

from cmlm_kd.tokenization.pieces import PieceTokenizer, pieces_to_text

__all__ = ["PieceTokenizer", "pieces_to_text"]
