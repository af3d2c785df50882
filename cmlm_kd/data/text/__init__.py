"""Unlabelled text for masked language models: its sources, and its tokens on disk."""
