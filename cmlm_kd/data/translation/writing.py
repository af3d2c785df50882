"""The writer of a fairseq data-bin: parallel text, tokenised and numbered."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmlm_kd.data.translation.manifest import PrepareOptions, SplitReport
from cmlm_kd.data.translation.numbered_sentences import NumberedSentences, Renumbering, TokenNumbers
from cmlm_kd.data.translation.parallel_text import Chunk, ParallelText
from cmlm_kd.data.translation.vocabulary import Vocabulary
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import write_flat_databin
from cmlm_kd.tokenization.pieces import Pieces, PieceTokenizer
from cmlm_kd.tokenization.saving import write_tokenizer

_NUMBERED = "numbered"
"""Directory of the text as numbers, while the data-bin is written."""


@dataclass(frozen=True)
class DatabinWriting:
    """Writes dictionaries, splits and raw text.

    Attributes:
        directory: where to, an existing directory.
        options: what is asked for.
        tokenizer: the teacher's.
        positions: what the teacher has for the tokens of a pair, EOS not counted.
    """

    directory: Path
    options: PrepareOptions
    tokenizer: PieceTokenizer
    positions: int

    def run(self, text: ParallelText) -> dict[str, SplitReport]:
        """Read all text, write everything and return what happened to each split, in the options' order.

        Raises:
            UserError: if a split has no pair, or an empty one that is not to be dropped.
        """
        for name in ("raw", _NUMBERED):
            (self.directory / name).mkdir()
        numbers = TokenNumbers(self.tokenizer.special.sep)
        corpora: dict[str, list[NumberedSentences]] = {}
        reports = {split: SplitReport() for split in self.options.splits}
        for split, chunks in text.splits():
            corpora[split] = [
                NumberedSentences(self.directory / _NUMBERED / f"{split}.{side}", numbers)
                for side in ("source", "target")
            ]
            with ExitStack() as stack:
                paths = [self.directory / "raw" / f"{split}.{name}" for name in self.options.languages]
                raw = [stack.enter_context(path.open("w", encoding="utf-8", newline="\n")) for path in paths]
                for chunk in chunks:
                    # Pair by pair: thousands of lists that live at once keep Python's garbage collector busy.
                    for lines, pair in self._tokenise(split, chunk, reports[split]):
                        for file, line in zip(raw, lines, strict=True):
                            file.write(line + "\n")
                        for sentences, pieces in zip(corpora[split], pair, strict=True):
                            sentences.append(pieces)
            for sentences in corpora[split]:
                sentences.flush()
            if not reports[split].pairs:
                raise UserError(
                    f"{self.options.splits[split]}: no pair has text on both sides; give text with at least "
                    "one pair"
                )
        self._write(numbers, corpora, reports)
        shutil.rmtree(self.directory / _NUMBERED)
        return reports

    def _tokenise(
        self, split: str, chunk: Chunk, report: SplitReport
    ) -> Iterator[tuple[tuple[str, str], tuple[Pieces, Pieces]]]:
        """Yield the pairs that the tokenizer leaves something of, as text and in tokens."""
        sources, targets = (self.tokenizer.pieces_of([pair[side] for pair in chunk.pairs]) for side in (0, 1))
        report.dropped_empty += chunk.empty
        for number, lines, source, target in zip(chunk.numbers, chunk.pairs, sources, targets, strict=True):
            if source.symbols and target.symbols:
                report.pairs += 1
                yield lines, self._fit(source, target, report)
            elif self.options.drop_empty:
                report.dropped_empty += 1
            else:  # The tokenizer deletes all of a line of control characters, for example.
                raise UserError(
                    f"{self.options.splits[split]}, line {number}: the teacher's tokenizer leaves nothing of "
                    "one side; mend the text, or pass --drop-empty to leave such pairs out"
                )

    def _fit(self, source: Pieces, target: Pieces, report: SplitReport) -> tuple[Pieces, Pieces]:
        """Count a pair that exceeds the teacher's positions; cut its source if asked for and possible."""
        room = self.positions - len(target.symbols)
        if len(source.symbols) <= room:
            return source, target
        if not self.options.truncate_source or room < 1:
            report.too_long_for_teacher += 1
            return source, target
        report.truncated_sources += 1
        return Pieces(source.symbols[:room], source.teacher_ids[:room]), target

    def _write(
        self,
        numbers: TokenNumbers,
        corpora: dict[str, list[NumberedSentences]],
        reports: dict[str, SplitReport],
    ) -> None:
        """Make the dictionaries and write every split in their entries."""
        vocabularies = self._vocabularies(corpora, numbers)
        for side, language in enumerate(self.options.languages):
            vocabulary = vocabularies[side]
            vocabulary.save(self.directory, language)
            renumbering = Renumbering.between(numbers, vocabulary)
            for split, report in reports.items():
                sentences = corpora[split][side]
                path = self.options.file(self.directory, split, language)
                blocks = sentences.blocks(renumbering.entries)
                write_flat_databin(path, blocks, sentences.sizes(), sentences.rows, len(vocabulary))
                counts = sentences.counts(len(numbers))  # (numbers,)
                report.pieces[language] = int(counts.sum())
                report.unknown[language] = int(counts[renumbering.unknown].sum())
                report.merged[language] = int(counts[renumbering.merged].sum())
            self._check_known(language, reports["train"])

    def _check_known(self, language: str, report: SplitReport) -> None:
        """Refuse a training text of which the tokenizer knows nothing but the EOS of each pair."""
        if report.unknown[language] >= report.pieces[language] - report.pairs:
            raise UserError(
                f"{self.options.splits['train']}.{language}: the teacher's tokenizer knows none of the text, "
                f"every token is <unk>; give a --teacher that reads {language}"
            )

    def _vocabularies(
        self, corpora: dict[str, list[NumberedSentences]], numbers: TokenNumbers
    ) -> list[Vocabulary]:
        """Return those of the two languages: taken over, or made of the training text."""
        given = self.options.dictionaries
        if given is not None:
            vocabularies = [Vocabulary.load(given, language) for language in self.options.languages]
        else:
            vocabularies = self._build_vocabularies(corpora, numbers)
        for vocabulary in vocabularies:
            vocabulary.check(self.tokenizer)
        return vocabularies

    def _build_vocabularies(
        self, corpora: dict[str, list[NumberedSentences]], numbers: TokenNumbers
    ) -> list[Vocabulary]:
        training = [sides for split, sides in corpora.items() if split.startswith("train")]
        source, target = (
            numbers.usage(np.sum([sides[side].counts(len(numbers)) for sides in training], axis=0))
            for side in (0, 1)
        )
        if self.options.joined_dictionary:
            source = target = source + target
        return [Vocabulary.build(usage, self.tokenizer.special) for usage in (source, target)]


def save_teacher_tokenizer(tokenizer: PieceTokenizer, config: Any | None, directory: Path) -> None:
    """Write the teacher's tokenizer and configuration, so that the data-bin says how to read its text."""
    write_tokenizer(tokenizer.tokenizer, directory, config)
    if config is not None:
        config.save_pretrained(directory)
