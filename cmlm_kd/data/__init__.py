"""Corpora: pairs for translation, sentences for classification, unlabelled text; and masks."""
