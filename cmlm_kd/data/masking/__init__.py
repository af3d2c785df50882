"""Masks over target tokens, unlabelled text and whole words."""
