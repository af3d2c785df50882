"""The KD criteria, one a file."""
