"""Masks over target tokens, running text and whole words."""
