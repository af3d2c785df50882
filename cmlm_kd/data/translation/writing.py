"""Tokenise parallel text and write it as a fairseq data-bin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cmlm_kd.data.translation.manifest import PrepareOptions, SplitReport
from cmlm_kd.data.translation.piece_corpus import PieceTable, Sentences, Translation
from cmlm_kd.data.translation.vocabulary import Vocabulary
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import write_flat_databin
from cmlm_kd.system.text import iterate_pairs
from cmlm_kd.tokenization.pieces import Pieces, PieceTokenizer

_CHUNK = 10_000  # pairs


@dataclass(frozen=True)
class DatabinWriting:
    """Writes dictionaries, splits and raw text.

    Attributes:
        directory: where to, an existing directory.
        options: what is asked for.
        tokenizer: the teacher's.
        positions: what the teacher has for the pieces of a pair, EOS not counted.
        lines: pairs of each split, empty ones included, for the progress bar.
    """

    directory: Path
    options: PrepareOptions
    tokenizer: PieceTokenizer
    positions: int
    lines: dict[str, int]

    def run(self) -> dict[str, SplitReport]:
        """Write everything and return what happened to each split.

        Raises:
            UserError: if a split has no pair, or an empty one that is not to be dropped.
        """
        table = PieceTable(self.tokenizer.special.sep)
        (self.directory / "raw").mkdir()
        corpora, reports = {}, {}
        for split in self.options.splits:
            corpora[split], reports[split] = self._encode(split, table)
        vocabularies = self._build_vocabularies(corpora, table)
        for side, language in enumerate(self.options.languages):
            vocabulary = vocabularies[side]
            vocabulary.save(self.directory, language)
            translation = Translation.between(table, vocabulary)
            for split, sides in corpora.items():
                sentences, report = sides[side], reports[split]
                path = self.options.file(self.directory, split, language)
                entries = translation.entries[sentences.pieces]
                write_flat_databin(path, entries, sentences.sizes, len(vocabulary))
                report.pieces[language] = len(entries)
                report.unknown[language] = int(translation.unknown[sentences.pieces].sum())
                report.merged[language] = int(translation.merged[sentences.pieces].sum())
        return reports

    def _encode(self, split: str, table: PieceTable) -> tuple[list[Sentences], SplitReport]:
        """Tokenise a split and keep its raw text."""
        report = SplitReport()
        prefix, languages = self.options.splits[split], self.options.languages
        chunks: list[list[Sentences]] = [[], []]
        with ExitStack() as stack:
            bar = tqdm(total=self.lines[split], desc=f"pieces of {split}", unit="pair", disable=None)
            stack.enter_context(bar)
            paths = [self.directory / "raw" / f"{split}.{language}" for language in languages]
            raw = [stack.enter_context(path.open("w", encoding="utf-8", newline="\n")) for path in paths]
            read = 0
            for lines in _chunks(iterate_pairs(prefix, languages)):
                pieces = [self.tokenizer.encode_batch(side) for side in zip(*lines, strict=True)]
                rows = [row for row in range(len(lines)) if all(side[row].symbols for side in pieces)]
                self._check_empty(prefix, read, len(lines), rows)
                report.pairs += len(rows)
                report.dropped_empty += len(lines) - len(rows)
                pairs = [self._fit(pieces[0][row], pieces[1][row], report) for row in rows]
                for side in (0, 1):
                    raw[side].writelines(lines[row][side] + "\n" for row in rows)
                    chunks[side].append(table.numbers([pair[side] for pair in pairs]))
                read += len(lines)
                bar.update(len(lines))
        if not report.pairs:
            raise UserError(f"{prefix}: no pair has text on both sides; give text with at least one pair")
        return [Sentences.concatenate(side) for side in chunks], report

    def _check_empty(self, prefix: str, before: int, lines: int, rows: list[int]) -> None:
        """Refuse a line of which the tokenizer deletes all, such as one of control characters."""
        if len(rows) < lines and not self.options.drop_empty:
            first = next(row for row in range(lines) if row not in rows)
            raise UserError(
                f"{prefix}, line {before + first + 1}: the teacher's tokenizer leaves nothing of one side; "
                "mend the text, or pass --drop-empty to leave such pairs out"
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

    def _build_vocabularies(self, corpora: dict[str, list[Sentences]], table: PieceTable) -> list[Vocabulary]:
        training = [sides for split, sides in corpora.items() if split.startswith("train")]
        source, target = (table.usage(sides[side] for sides in training) for side in (0, 1))
        if self.options.joined_dictionary:
            source = target = source + target
        vocabularies = [Vocabulary.build(usage, self.tokenizer.special) for usage in (source, target)]
        for vocabulary in vocabularies:
            vocabulary.check(self.tokenizer)
        return vocabularies


def _chunks(pairs: Iterator[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    while chunk := list(islice(pairs, _CHUNK)):
        yield chunk


def save_teacher(tokenizer: PieceTokenizer, config: Any, directory: Path) -> None:
    """Write the teacher's tokenizer and configuration, so that the data-bin says how to read its text."""
    tokenizer.tokenizer.save_pretrained(directory)
    config.save_pretrained(directory)
