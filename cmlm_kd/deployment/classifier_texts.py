"""What a classifier is compared on with its checkpoint: a file's texts, or the dev set of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmlm_kd.data.classification.corpora import CORPORA, ReadingOptions
from cmlm_kd.data.classification.reading import read_examples
from cmlm_kd.data.classification.texts import parse_texts
from cmlm_kd.deployment.parity import MOST_SENTENCES
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import settings_of
from cmlm_kd.system.text import comma_separated, read_lines


@dataclass(frozen=True)
class ComparedTexts:
    """Texts, or pairs of texts.

    Attributes:
        name: where they are from, without folders.
        first: the texts.
        second: the second texts of pairs, None of single texts.
        right: the class, or score, of each; None where nobody says it.
        truncate: whether long ones are cut, as in training.
    """

    name: str
    first: list[str]
    second: list[str] | None = None
    right: list[str] | None = None
    truncate: bool = False


def texts_of_file(sentences: Path, references: Path | None) -> ComparedTexts:
    """Return the texts that a user names, all of them.

    Args:
        sentences: lines of text, or of text<TAB>text.
        references: the right class, or score, of each, one a line.

    Raises:
        UserError: there are none, or another number of references.
    """
    first, second = parse_texts(read_lines(sentences), str(sentences))
    if not first:
        raise UserError(f"{sentences} is empty; give a file with at least one line of text")
    right = None if references is None else read_lines(references)
    if right is not None and len(right) != len(first):
        raise UserError(
            f"--references {references} has {len(right):,} lines, {sentences} {len(first):,}; "
            "give the class of each line"
        )
    return ComparedTexts(sentences.name, first, second, right)


def texts_of_training(
    state: Mapping[str, Any], task: str | None, labels: tuple[str, ...]
) -> ComparedTexts | None:
    """Return the beginning of the dev set that a checkpoint was validated on; None where it is gone.

    Args:
        state: of the checkpoint.
        task: which task of a student of several.
        labels: of the model.
    """
    settings = settings_of(state, "task")
    folder, corpus = Path(str(settings.get("data") or "")), settings.get("corpus")
    file = str(settings.get("valid_file") or "")
    if settings.get("corpora"):
        names = comma_separated(str(settings["corpora"]))
        corpus = task or (names[0] if len(names) == 1 else None)
        if corpus not in CORPORA or settings.get("corpus_folder") or file:
            return None
        folder = folder / str(corpus)
    if not corpus or not folder.is_dir():
        return None
    columns = comma_separated(str(settings.get("text_columns") or ""))
    try:
        found = read_examples(
            folder, "valid", ReadingOptions.for_model(str(corpus), labels, text_columns=columns), file
        )
    except (UserError, OSError):  # the folder is another one by now
        return None
    if not len(found):
        return None
    some = found.select(range(min(len(found), MOST_SENTENCES)))
    right = None if some.target is None else some.target_names()
    return ComparedTexts(f"the dev set of {corpus}", some.first, some.second, right, truncate=True)
