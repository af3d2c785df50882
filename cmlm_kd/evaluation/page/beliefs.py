"""What a teacher believed about each token of some sentences, and what students have learnt to believe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cmlm_kd.api.next_tokens import NextTokenTeacher, Pairs, TeacherOptions, TranslationData
from cmlm_kd.api.signals import SoftTargets
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.page.translations import evenly_spread
from cmlm_kd.fairseq_files.databin import Databin, read_symbols
from cmlm_kd.losses.sparse_teacher import teacher_distribution
from cmlm_kd.store import Corpus, SentenceTargets, SoftTargetStore
from cmlm_kd.store.corpus import chosen_languages, open_pair
from cmlm_kd.store.statistics import tail_nearest_to_one
from cmlm_kd.teachers.kinds import load_teachers
from cmlm_kd.tokenization.spelling import SPECIALS, pieces_to_text

OF_A_STUDENT = 5
"""Entries that a student prefers and that are shown, whatever the teacher thinks of them."""

AT_MOST = 10
"""Entries that are shown of a token."""

LEAST = 0.001
"""Probability below which an entry is not shown, unless it is the reference's."""

_AT_ONCE = 8  # sentences whose logits are in memory at the same time


@dataclass(frozen=True)
class Entry:
    """What is believed of one entry of the dictionary at one place.

    Attributes:
        symbol: of the entry; ▁ begins a word.
        gold: whether the reference has it there.
        beliefs: probability that each speaker gives it, the teacher first; None where it is not among the
            entries that the store has of the teacher.
    """

    symbol: str
    gold: bool
    beliefs: Sequence[float | None]


@dataclass(frozen=True)
class Token:
    """A place in a target sentence.

    Attributes:
        symbol: the reference's.
        entries: those that are believed in most, and the reference's.
        rest: what each speaker gives to all others together.
    """

    symbol: str
    entries: Sequence[Entry]
    rest: Sequence[float]


@dataclass(frozen=True)
class Sentence:
    """A pair of the training set.

    Attributes:
        number: its line, from 1.
        source, target: text.
        tokens: of the target, the end of sentence included.
    """

    number: int
    source: str
    target: str
    tokens: Sequence[Token]


@dataclass(frozen=True)
class Beliefs:
    """What is shown of a store.

    Attributes:
        teacher: kind of the teacher, in words.
        split: of the data-bin.
        temperature: at which all probabilities are taken.
        speakers: the students, in the order of the beliefs behind the teacher's.
        sentences: perhaps none.
        notes: on what is not shown, a sentence each.
    """

    teacher: str
    split: str
    temperature: float
    speakers: Sequence[str]
    sentences: Sequence[Sentence]
    notes: Sequence[str] = field(default=())


@dataclass(frozen=True)
class ShownStore:
    """A store with the text that it belongs to.

    Attributes:
        store: checked against the data.
        data: the data-bin.
        split: of it.
        source, target: its two sides.
        symbols: of both dictionaries, specials included, source first.
    """

    store: SoftTargetStore
    data: TranslationData
    split: str
    source: Databin
    target: Databin
    symbols: tuple[Sequence[str], Sequence[str]]

    @classmethod
    def open(
        cls, path: Path, data: Path, split: str, languages: tuple[str | None, str | None] = (None, None)
    ) -> ShownStore:
        """Open a store and its data-bin and check that they belong together.

        Args:
            path: of the store.
            data: directory of the data-bin.
            split: of it, such as ``train``.
            languages: source and target; both None: as the file names say.

        Raises:
            UserError: one is missing, damaged, or does not belong to the other.
        """
        source_language, target_language = chosen_languages(data, split, *languages)
        source, target = open_pair(data, split, source_language, target_language)
        dictionaries = [data / f"dict.{language}.txt" for language in (source_language, target_language)]
        store = SoftTargetStore.open(path, checksums=True)
        store.check(Corpus.of_pair(source, target, dictionaries[1]))
        source_symbols, target_symbols = ([*SPECIALS, *read_symbols(file)] for file in dictionaries)
        described = TranslationData(data, source_language, target_language, len(target_symbols))
        return cls(store, described, split, source, target, (source_symbols, target_symbols))

    def beliefs(self, students: Mapping[str, Path], most: int) -> Beliefs:
        """Ask the students about sentences that are spread evenly over those with a teacher row.

        A student that cannot be asked, because its dictionaries are others, say, is left out, and a note says
        why.

        Args:
            students: name -> checkpoint of a translator.
            most: sentences, at least 1.

        Raises:
            UserError: no student can be asked.
        """
        models, notes = self._load(students)
        rows = self._rows(list(models.values()), most)
        sentences: list[Sentence] = []
        for start in range(0, len(rows), _AT_ONCE):
            sentences += self._sentences(rows[start : start + _AT_ONCE], list(models.values()))
        if not rows:
            notes.append(
                f"No sentence of {self.split} has soft targets and is short enough for all students."
            )
        kind = self.store.manifest.header.teacher_kind
        return Beliefs(kind, self.split, self._temperature, list(models), sentences, notes)

    @property
    def _temperature(self) -> float:
        return self.store.tail_temperatures[tail_nearest_to_one(self.store.tail_temperatures)]

    def _load(self, students: Mapping[str, Path]) -> tuple[dict[str, NextTokenTeacher], list[str]]:
        models: dict[str, NextTokenTeacher] = {}
        refused: dict[str, UserError] = {}
        for name, path in students.items():
            try:
                models[name] = load_teachers([str(path)], self.data, TeacherOptions())
            except UserError as error:
                refused[name] = error
        if not models:
            raise next(iter(refused.values()))
        return models, [f"{name} is not shown: {error}." for name, error in refused.items()]

    def _rows(self, models: Sequence[NextTokenTeacher], most: int) -> list[int]:
        """Return the rows that are shown."""
        taught = np.flatnonzero(self.store.lengths > 0)  # (rows with a teacher,)
        # Each model says for itself what it can read, so more are asked about than are shown.
        chosen = taught[evenly_spread(len(taught), 4 * most)]
        if not len(chosen):
            return []
        pairs = self._pairs(chosen.tolist())
        readable = np.logical_and.reduce([model.readable(pairs) for model in models])  # (candidates,)
        found = chosen[readable]
        return [int(found[place]) for place in evenly_spread(len(found), most)]

    def _pairs(self, rows: Sequence[int]) -> Pairs:
        return Pairs([self.source[row] for row in rows], [self.target[row] for row in rows])

    def _sentences(self, rows: Sequence[int], models: Sequence[NextTokenTeacher]) -> list[Sentence]:
        pairs = self._pairs(rows)
        said = [
            (model.next_tokens(pairs).log_probabilities().logits / self._temperature).softmax(-1).cpu()
            for model in models
        ]  # of each student (N, V)
        found, start = [], 0
        for row in rows:
            gold = torch.from_numpy(self.target[row].astype(np.int64))  # (L,)
            own = [probs[start : start + len(gold)] for probs in said]  # of each student (L, V)
            start += len(gold)
            targets = self.store[row]
            if targets is not None:
                found.append(self._sentence(row, gold, targets, own))
        return found

    def _sentence(self, row: int, gold: Tensor, targets: SentenceTargets, said: Sequence[Tensor]) -> Sentence:
        """Put together what is believed of a sentence of L tokens; ``said``: ``(L, V)`` of each student."""
        soft = SoftTargets(
            torch.from_numpy(targets.ids.astype(np.int64)),  # (L, k)
            torch.from_numpy(targets.logits.copy()),  # (L, k)
            torch.from_numpy(targets.tail.copy()),  # (L, n)
            torch.ones(len(gold), dtype=torch.bool),
            self.store.tail_temperatures,
        )
        teacher = teacher_distribution(
            soft, self.store.k, self._temperature, bucket=True, dtype=torch.float64
        )
        preferred = [
            probs.topk(min(OF_A_STUDENT, probs.size(1)), -1).indices for probs in said
        ]  # (L, 5) each
        tokens = []
        for place, token in enumerate(gold.tolist()):
            of_teacher = dict(zip(teacher.ids[place].tolist(), teacher.probs[place].tolist(), strict=True))
            candidates = dict.fromkeys(
                [token, *of_teacher, *(i for top in preferred for i in top[place].tolist())]
            )
            beliefs = {
                entry: [of_teacher.get(entry), *(float(probs[place, entry]) for probs in said)]
                for entry in candidates
            }
            tokens.append(self._token(token, beliefs))
        source, target = (
            pieces_to_text(symbols[entry] for entry in side[row][:-1].tolist())
            for symbols, side in zip(self.symbols, (self.source, self.target), strict=True)
        )
        return Sentence(row + 1, source, target, tokens)

    def _token(self, gold: int, beliefs: Mapping[int, Sequence[float | None]]) -> Token:
        most = {entry: max(value or 0.0 for value in values) for entry, values in beliefs.items()}
        likely = sorted(most, key=lambda entry: (entry != gold, -most[entry]))[:AT_MOST]
        shown = [entry for entry in likely if entry == gold or most[entry] >= LEAST]
        shown.sort(key=lambda entry: -most[entry])
        symbols = self.symbols[1]
        entries = [
            Entry(
                symbols[entry],
                entry == gold,
                [None if value is None else round(value, 4) for value in beliefs[entry]],
            )
            for entry in shown
        ]
        columns = zip(*(beliefs[entry] for entry in shown), strict=True)
        rest = [round(max(0.0, 1 - sum(value or 0.0 for value in column)), 4) for column in columns]
        return Token(symbols[gold], entries, rest)
