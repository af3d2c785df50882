"""Corpora: pairs for translation, sentences for classification, running text; and masks."""
