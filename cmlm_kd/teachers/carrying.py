"""A teacher's next-token distributions carried into another vocabulary: what each means for the student's
tokens of the same text.

Both tokenisations spell the same bytes. A *path* is a sequence of the teacher's tokens that agrees with the
text so far; the gold path is the teacher's own tokenisation of the target, and teacher forcing gives the
distribution after each of its tokens. Of all paths those are known that leave the gold path by their last
token. Each of them says which entry of the student comes next: the longest one with which the rest of its
spelling begins. So the probability of an entry is the mass of the paths that say it, over the mass of all
that agree with what the student has said already (the chain rule). Three things are not known, and their mass
is *outside* of all entries: what follows a path that has no bytes left, an alternative to a token in the
midst of the gold path of one student token, and spellings for which the student has no entry.

The student's first word has a space before it. Where the teacher's has none, its first token is read as if it
had one.

``docs/decisions/teachers.md`` has the reasons; ``docs/autoregressive_teachers.md`` says what it is worth.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.tokenization.spelled_bytes import END

SPACE = b" "

LEAST_MASS = 1e-7
"""Of a path that leaves the gold one; those with less are not followed, and their mass is outside."""

NEXT_TO_NOTHING = float(np.finfo(np.float32).tiny)
"""Of the gold entry where the teacher rules it out and nothing is known of any other: all else is outside,
and each token has an entry with a logarithm."""

Ids = NDArray[np.int64]
Masses = NDArray[np.float64]


@dataclass(frozen=True)
class _Paths:
    """Paths that left the gold one at the same token: where each went, and how many of its bytes are read."""

    tokens: Ids  # (n,) of the teacher
    read: int
    masses: Masses  # (n,)


class Spellings:
    """Entries of a vocabulary by what they are spelled with.

    Args:
        spelled: bytes of each; None for one that stands for nothing.
    """

    def __init__(self, spelled: Sequence[bytes | None]) -> None:
        self.spelled = list(spelled)
        known = sorted((text, number) for number, text in enumerate(spelled) if text)
        self._texts = [text for text, _ in known]
        self._numbers = np.array([number for _, number in known], np.int64)
        self._index = {text: number for text, number in reversed(known)}  # of equal ones the first
        self._longest = max(map(len, self._texts), default=0)

    def longest(self, text: bytes) -> int:
        """Return the longest entry with which a text begins; the number of entries where there is none."""
        for length in range(min(len(text), self._longest), 0, -1):
            number = self._index.get(text[:length])
            if number is not None:
                return number
        return len(self.spelled)

    def beginning_with(self, text: bytes) -> Ids:
        """Return all entries that begin with a text, ``(n,)``."""
        start = bisect_left(self._texts, text)
        return self._numbers[start : bisect_left(self._texts, text + b"\xff\xff", lo=start)]


class Carrier:
    """Carries distributions from a teacher's vocabulary into the student's.

    Args:
        student: bytes of each entry of the target dictionary, V; see
            :func:`cmlm_kd.tokenization.spelled_bytes.bytes_of_dictionary`.
        teacher: bytes of each token of the teacher, U.
    """

    def __init__(self, student: Sequence[bytes | None], teacher: Sequence[bytes | None]) -> None:
        self.student, self.teacher = Spellings(student), Spellings(teacher)
        self.size = len(student)
        first = [self.student.longest(text) if text else self.size for text in teacher]
        self.first: Ids = np.array(first, np.int64)  # (U,)
        self._longer: dict[int, Ids] = {}
        self._rests: dict[tuple[int, int], int] = {}
        self._completions: dict[tuple[bytes, bytes], Ids] = {}
        self._merges: dict[bytes, tuple[Ids, Ids]] = {}

    def agree(self, tokens: Sequence[int], entries: Sequence[int], *, unspaced: bool = False) -> bool:
        """Return whether the teacher's tokens and the student's entries spell the same, and nothing unknown.

        Args:
            tokens: of the teacher, the end of sentence included.
            entries: of the student, likewise.
            unspaced: the teacher's text is without the space that the student's begins with.
        """
        mine = [self.student.spelled[entry] for entry in entries]
        theirs = [self.teacher.spelled[token] for token in tokens]
        if None in mine or None in theirs:
            return False
        begun = SPACE if unspaced else b""
        return b"".join(mine) == begun + b"".join(theirs)  # type: ignore[arg-type]

    def carry(
        self, probs: Tensor, tokens: Sequence[int], entries: Sequence[int], *, unspaced: bool = False
    ) -> tuple[Masses, Masses]:
        """Return what the teacher says of the student's tokens of one sentence.

        Args:
            probs: ``(M, U)`` the teacher's distribution before each of its own tokens of the sentence.
            tokens: these M tokens, the end of sentence included.
            entries: the student's L entries of the same sentence, likewise; :meth:`agree` says whether.
            unspaced: as there.

        Returns:
            probabilities ``(L, V)`` of the student's entries, and ``(L,)`` what is outside of them; float64,
            because some are too small for less.
        """
        first = torch.from_numpy(self.first).to(probs.device)
        base = probs.new_zeros(len(tokens), self.size + 1).index_add_(1, first, probs)[:, :-1]  # (M, V)
        if unspaced:
            opening = torch.from_numpy(self.opening[0]).to(probs.device)  # (U,)
            base[0] = probs.new_zeros(self.size + 1).index_add_(0, opening, probs[0])[:-1]
        walk = _Walk(self, probs.cpu().double().numpy(), base.cpu().double().numpy(), tokens, unspaced)
        rows = np.stack([walk.step(entry) for entry in entries])  # (L, V)
        outside = np.clip(1 - rows.sum(1), 0, 1)
        nothing = np.flatnonzero(rows.sum(1) == 0)
        rows[nothing, np.asarray(entries)[nothing]] = NEXT_TO_NOTHING
        return rows, outside

    def entries_after(self, tokens: Ids, read: int) -> Ids:
        """Return which entry each token says next when so many of its bytes are read; V for none."""
        found = np.empty(len(tokens), np.int64)  # (n,)
        for place, token in enumerate(tokens.tolist()):
            key = (token, read)
            if key not in self._rests:
                self._rests[key] = self.student.longest((self.teacher.spelled[token] or b"")[read:])
            found[place] = self._rests[key]
        return found

    @cached_property
    def opening(self) -> tuple[Ids, NDArray[np.bool_], Ids]:
        """What each token says first at the beginning of a sentence whose space the teacher leaves out,
        ``(U,)``, whether a space is read before it, ``(U,)``, and how many bytes it has then, ``(U,)``.

        One that begins with a space has it already, and the end of a sentence has none.
        """
        known = [text or b"" for text in self.teacher.spelled]
        spaced = np.array([bool(text) and not text.startswith((SPACE, END)) for text in known])
        first = self.first.copy()
        for token in np.flatnonzero(spaced).tolist():
            first[token] = self.student.longest(SPACE + known[token])
        return first, spaced, np.array([len(text) for text in known], np.int64) + spaced

    def longer_at_opening(self, entry: int) -> tuple[Ids, Ids]:
        """Return the tokens of :attr:`opening` that begin with an entry and go on: those with a space read
        before them, and those without."""
        first, spaced, sizes = self.opening
        longer = (first == entry) & (sizes > len(self.student.spelled[entry] or b""))  # (U,)
        return np.flatnonzero(longer & spaced), np.flatnonzero(longer & ~spaced)

    @cached_property
    def _by_first(self) -> tuple[Ids, Ids]:
        order = np.argsort(self.first, kind="stable")  # (U,)
        return order, np.searchsorted(self.first[order], np.arange(self.size + 1))

    def longer_than(self, entry: int) -> Ids:
        """Return the teacher's tokens that begin with an entry and go on, ``(n,)``."""
        if entry not in self._longer:
            order, starts = self._by_first
            tokens = order[starts[entry] : starts[entry + 1]]
            length = len(self.student.spelled[entry] or b"")
            longer = [len(self.teacher.spelled[token] or b"") > length for token in tokens.tolist()]
            self._longer[entry] = tokens[np.array(longer, bool)]
        return self._longer[entry]

    def completions(self, begun: bytes, rest: bytes) -> Ids:
        """Return the tokens that make of a begun entry the whole one, or begin with what it lacks.

        Args:
            begun: its first bytes, at least one.
            rest: what it lacks, at least one byte.
        """
        key = (begun, rest)
        if key not in self._completions:
            wanted = self.student.longest(begun + rest)
            self._completions[key] = np.array(
                [
                    token
                    for token in self.teacher.beginning_with(rest).tolist()
                    if self.student.longest(begun + (self.teacher.spelled[token] or b"")) == wanted
                ],
                np.int64,
            )
        return self._completions[key]

    def merges(self, text: bytes) -> tuple[Ids, Ids]:
        """Return the tokens after which a whole entry would have been a longer one, and that entry.

        Args:
            text: how the entry is spelled.
        """
        if text not in self._merges:
            found: dict[int, int] = {}
            for entry in self.student.beginning_with(text).tolist():
                rest = (self.student.spelled[entry] or b"")[len(text) :]
                for token in self.teacher.beginning_with(rest).tolist() if rest else ():
                    found[token] = self.student.longest(text + (self.teacher.spelled[token] or b""))
            self._merges[text] = (
                np.array(list(found), np.int64),
                np.array(list(found.values()), np.int64),
            )
        return self._merges[text]


class _Walk:
    """One sentence, from one of the student's tokens to the next.

    Masses are shares of that of all paths that agree with the student so far: those of whole sentences would
    be too small for any number.

    Args:
        carrier: of both vocabularies.
        probs: ``(M, U)`` the teacher's.
        base: ``(M, V)`` the same by the entry that each of its tokens begins with.
        tokens: the gold path, ``(M,)``.
        unspaced: it is without the space that the student's begins with.
    """

    def __init__(
        self, carrier: Carrier, probs: Masses, base: Masses, tokens: Sequence[int], unspaced: bool
    ) -> None:
        self.carrier, self.probs, self.base, self.tokens = carrier, probs, base, tokens
        self.unspaced = unspaced
        self.spelled = [carrier.teacher.spelled[token] or b"" for token in tokens]
        if unspaced:
            self.spelled[0] = SPACE + self.spelled[0]
        self.node = 0  # the next token of the gold path
        self.ahead = b""  # what the gold path has said and the student has not
        self.mass = 1.0  # of the gold path
        self.excluded: Ids = np.empty(0, np.int64)  # tokens that would have made the last entry a longer one
        self.left: list[_Paths] = []

    def step(self, entry: int) -> Masses:
        """Return the probabilities of all entries, ``(V,)``, and go on to the next of the student's tokens.

        Args:
            entry: the gold one.
        """
        row = np.zeros(self.carrier.size + 1)  # (V + 1,), the last for no entry at all
        text = self.carrier.student.spelled[entry] or b""
        kept = self._ask_paths(row, entry, len(text))
        if not self.ahead:
            kept += self._leave_here(row, entry, len(text))
        while len(self.ahead) < len(text):
            kept.append(self._leave_within(row, entry, text))
        self.excluded = np.empty(0, np.int64)
        stays = self.mass
        if len(self.ahead) == len(text) and self.node < len(self.tokens):
            stays -= self._merge(row, text)
        row[entry] += stays
        self.ahead = self.ahead[len(text) :]
        self._condition(float(row[entry]), kept)
        return np.maximum(row[:-1], 0)

    def _condition(self, said: float, kept: list[_Paths]) -> None:
        """Make masses shares of that of the gold entry, which the student has now said."""
        if said > 0:
            self.mass /= said
            self.left = [_Paths(paths.tokens, paths.read, paths.masses / said) for paths in kept]
        else:  # the teacher rules it out; what it would say next is known all the same
            self.mass, self.left, self.excluded = 1.0, [], np.empty(0, np.int64)

    def _ask_paths(self, row: Masses, entry: int, length: int) -> list[_Paths]:
        """Add what the paths say that have left the gold one, and return those that say the gold entry."""
        kept = []
        for paths in self.left:
            said = self.carrier.entries_after(paths.tokens, paths.read)  # (n,)
            np.add.at(row, said, paths.masses)
            same = said == entry
            kept.append(_Paths(paths.tokens[same], paths.read + length, paths.masses[same]))
        return kept

    def _leave_here(self, row: Masses, entry: int, length: int) -> list[_Paths]:
        """Add what every token says at this place, where both begin one; the gold path goes on by its own."""
        opens = self.unspaced and self.node == 0
        first = self.carrier.opening[0] if opens else self.carrier.first  # (U,)
        probs, gold = self.probs[self.node], self.tokens[self.node]
        row[:-1] += self.mass * self.base[self.node]
        taken = np.append(self.excluded, gold)  # the gold one says the gold entry, whatever it begins with
        np.subtract.at(row, first[taken], self.mass * probs[taken])
        left = []
        for longer, read in self._longer(entry, length, opens):
            tokens = longer[~np.isin(longer, taken)]
            left.append(self._follow(tokens, read, self.mass * probs[tokens]))
        return left

    def _longer(self, entry: int, length: int, opens: bool) -> list[tuple[Ids, int]]:
        """Return tokens that begin with an entry and go on, and how many of their own bytes it takes."""
        if not opens:
            return [(self.carrier.longer_than(entry), length)]
        spaced, others = self.carrier.longer_at_opening(entry)
        return [(spaced, length - len(SPACE)), (others, length)]

    def _leave_within(self, row: Masses, entry: int, text: bytes) -> _Paths:
        """Let the gold path go on within an entry; those leave it here that say the same entry."""
        if not self.ahead:  # its first token
            self._go_on()
            return self._follow(np.empty(0, np.int64), 0, np.empty(0))
        probs, rest = self.probs[self.node], text[len(self.ahead) :]
        same = self.carrier.completions(self.ahead, rest)
        same = same[same != self.tokens[self.node]]
        masses = self.mass * probs[same]  # (n,)
        row[entry] += masses.sum()
        self._go_on()
        return self._follow(same, len(rest), masses)

    def _merge(self, row: Masses, text: bytes) -> float:
        """Add the longer entries that the next token would make of this one; returns their mass."""
        tokens, entries = self.carrier.merges(text)
        other = tokens != self.tokens[self.node]
        self.excluded, entries = tokens[other], entries[other]
        masses = self.mass * self.probs[self.node][self.excluded]  # (n,)
        np.add.at(row, entries, masses)
        return float(masses.sum())

    def _go_on(self) -> None:
        self.mass *= float(self.probs[self.node][self.tokens[self.node]])
        self.ahead += self.spelled[self.node]
        self.node += 1

    @staticmethod
    def _follow(tokens: Ids, read: int, masses: Masses) -> _Paths:
        enough = masses > LEAST_MASS
        return _Paths(tokens[enough], read, masses[enough])
