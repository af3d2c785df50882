"""Writing examples in the columns of their corpus, so that they are read like the published files."""

from __future__ import annotations

from pathlib import Path

from cmlm_kd.data.classification.corpora import HUGGINGFACE, TEXT, corpus_format
from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.errors import UserError
from cmlm_kd.system.files import written_aside


def write_examples(path: Path, corpus: str, examples: Examples) -> None:
    """Write labelled examples as a file that ``--train-file`` takes with the same ``--corpus``.

    Tabs and line ends inside a sentence become spaces. The file appears only when complete.

    Raises:
        UserError: for ``huggingface``, whose datasets are no files.
    """
    if corpus == HUGGINGFACE:
        raise UserError("a saved dataset cannot be written as a file; take --corpus text")
    if corpus == TEXT:
        header, columns = [], ["first", "label"] if examples.second is None else ["first", "second", "label"]
        names = dict(first="first", second="second", label="label")
        spelled = {name: name for name in examples.labels}
    else:
        form = corpus_format(corpus)
        names = dict(first=form.first, second=form.second, label=form.label)
        columns = list(form.columns) or [form.first, *([form.second] if form.second else []), form.label]
        header = [] if form.columns else columns
        spelled = {name: value for value, name in form.classes.items()}
    values = {
        names["first"]: examples.first,
        names["label"]: [spelled.get(name, name) for name in examples.target_names()],
    }
    if examples.second is not None:
        values[names["second"]] = examples.second
    empty = [""] * len(examples)
    rows = zip(*(values.get(column, empty) for column in columns), strict=True)
    with written_aside(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        if header:
            file.write("\t".join(header) + "\n")
        for row in rows:
            file.write("\t".join(" ".join(value.split()) for value in row) + "\n")
