"""From the n-best lists of a whole text to the pairs that are kept: picked, filtered, counted, written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from cmlm_kd.api.translator import Hypothesis
from cmlm_kd.data.translating.filters import Filter, Pair, filter_values, make_filters
from cmlm_kd.data.translating.pick import ALL, FIRST, Row, check_way, pick
from cmlm_kd.data.translating.scorer import scored
from cmlm_kd.data.translating.text import TextFile
from cmlm_kd.data.translation.synthetic import manifest_path
from cmlm_kd.errors import UserError
from cmlm_kd.system.files import written_aside


@dataclass(frozen=True)
class Selection:
    """Which hypotheses become pairs, and where they are written.

    Attributes:
        output: file of the hypotheses.
        output_source: file of their sources, line by line; None where every source has its line in the input.
        output_scores: file of all hypotheses: number of the line, from 1, score and text, separated by tabs.
        pick: see :data:`cmlm_kd.data.translating.pick.WAYS`.
        reference: translations of the input by others.
        scorer: a command, see :func:`cmlm_kd.data.translating.scorer.scored`.
        filters: ``NAME[=VALUE]`` each; None writes every source's line, empty ones too.
        target_language: for the filter of languages.
    """

    output: Path
    output_source: Path | None = None
    output_scores: Path | None = None
    pick: str = FIRST
    reference: Path | None = None
    scorer: str | None = None
    filters: tuple[str, ...] | None = None
    target_language: str | None = None

    @property
    def places(self) -> list[Path]:
        """All files that are written, the manifest apart."""
        return [path for path in (self.output, self.output_source, self.output_scores) if path is not None]

    def check(self, n_best: int) -> None:
        """Refuse what cannot be done, before anything is translated.

        Args:
            n_best: hypotheses of each source.

        Raises:
            UserError: naming the flag.
        """
        check_way(self.pick, n_best, self.reference is not None, self.scorer is not None)
        drops = (
            "--filter drops pairs" if self.filters is not None else "--pick all writes several lines a source"
        )
        if self.output_source is None and (self.filters is not None or self.pick == ALL):
            raise UserError(f"{drops}, so the sources must be written beside them; add --output-source FILE")
        written = [*self.places, manifest_path(self.output)]
        for path in written:
            if sum(path.resolve() == other.resolve() for other in written) > 1:
                raise UserError(f"two outputs are the same file, {path}; give each a name of its own")
            if path.suffix == ".gz":
                raise UserError(f"{path} would be no gzipped file, text is written as it is; leave .gz out")
        filter_values(self.filters or ())

    def open_reference(self, text: TextFile) -> TextFile | None:
        """Return the reference.

        Raises:
            UserError: it has another number of lines than the input.
        """
        if self.reference is None:
            return None
        reference = TextFile.open(self.reference)
        if reference.lines != text.lines:
            raise UserError(
                f"--reference {self.reference} has {reference.lines:,} lines, --input {text.path} "
                f"{text.lines:,}; give the translation of each line, in the same order"
            )
        return reference

    def settings(self) -> dict[str, Any]:
        """Return what the manifest says of it."""
        return {
            "pick": self.pick,
            "scorer": self.scorer,
            "filters": None if self.filters is None else list(self.filters),
        }


class Selector:
    """Goes through the n-best lists once, or twice where an external scorer reads them first.

    Args:
        selection: what to do.
        text: the sources.
        reference: of them, or None.
        nbest: gives the lists, in the order of the input, as often as it is called.

    Raises:
        UserError: from the filters, such as a language that cannot be identified.
    """

    def __init__(
        self,
        selection: Selection,
        text: TextFile,
        reference: TextFile | None,
        nbest: Callable[[], Iterable[Sequence[Hypothesis]]],
    ) -> None:
        self.selection = selection
        self.text = text
        self.reference = reference
        self.nbest = nbest
        self.filters: list[Filter] | None = None
        if selection.filters is not None:
            self.filters = make_filters(selection.filters, selection.target_language)
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def write(self) -> dict[str, Any]:
        """Write the outputs, each whole or not at all, and return what was counted."""
        selection = self.selection
        with ExitStack() as stack:
            rows: Iterable[Row] = self._rows()
            if selection.scorer is not None:
                numbers = stack.enter_context(scored(selection.scorer, self._rows()))
                rows = _with_scores(self._rows(), numbers)
            # The last to be entered is the first to appear, so that --output stands for the whole.
            target = stack.enter_context(_writing(selection.output))
            source = stack.enter_context(_writing(selection.output_source))
            scores = stack.enter_context(_writing(selection.output_scores))
            self._write(rows, target, source, scores)
        return {**self.counts, **({"dropped": dict(self.dropped)} if selection.filters is not None else {})}

    def _write(
        self, rows: Iterable[Row], target: TextIO | None, source: TextIO | None, scores: TextIO | None
    ) -> None:
        filters = self.filters
        if filters is not None:
            self.dropped.update(dict.fromkeys((each.name for each in filters), 0))
        self.counts.update(dict.fromkeys(("lines", "written", "empty", "endless"), 0))
        for number, row in enumerate(rows, 1):
            self.counts["lines"] += 1
            for entry in row.hypotheses if scores is not None else ():
                _print(scores, f"{number}\t{entry.score:.6f}\t{entry.text}")
            for entry in pick(self.selection.pick, row) or [Hypothesis("", 0.0)]:
                self.counts["empty"] += not entry.text
                self.counts["endless"] += not entry.finished
                if filters is None or self._stays(filters, row.source, entry):
                    self.counts["written"] += 1
                    _print(target, entry.text)
                    _print(source, row.source)

    def _stays(self, filters: Sequence[Filter], source: str, entry: Hypothesis) -> bool:
        """Return whether a pair stays, and count the first reason why it does not."""
        pair = Pair(source, entry.text, entry.score, entry.finished)
        for each in filters:
            if not each.keeps(pair):
                self.dropped[each.name] += 1
                return False
        return True

    def _rows(self) -> Iterator[Row]:
        references: Iterable[str | None] = self.reference or (None for _ in range(self.text.lines))
        for source, reference, hypotheses in zip(self.text, references, self.nbest(), strict=True):
            yield Row(source, reference, hypotheses)


def _with_scores(rows: Iterable[Row], numbers: Iterable[Sequence[float]]) -> Iterator[Row]:
    """Yield rows whose hypotheses have the external scorer's numbers for scores."""
    for row, values in zip(rows, numbers, strict=True):
        rated = [entry._replace(score=value) for entry, value in zip(row.hypotheses, values, strict=True)]
        yield row._replace(hypotheses=rated)


class _writing:
    """A text file that appears whole or not at all; nothing for no path."""

    def __init__(self, path: Path | None) -> None:
        self._stack = ExitStack()
        self._path = path

    def __enter__(self) -> TextIO | None:
        if self._path is None:
            return None
        partial = self._stack.enter_context(written_aside(self._path))
        return self._stack.enter_context(partial.open("w", encoding="utf-8", newline="\n"))

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)


def _print(stream: TextIO | None, line: str) -> None:
    if stream is not None:
        stream.write(f"{line}\n")
