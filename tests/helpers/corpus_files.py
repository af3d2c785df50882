"""Files of classification corpora, written by hand and read."""

from cmlm_kd.data.classification import ReadingOptions, read_examples


def write(path, *lines, end="\n"):
    """Write a file's lines; returns its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(lines) + end).encode())
    return path.parent


def read(folder, corpus, split="train", file="", **options):
    return read_examples(folder, split, ReadingOptions(corpus, **options), file)
