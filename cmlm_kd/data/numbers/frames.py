"""Sentence frames: a clause after an opening, in both languages, and which split each belongs to."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from cmlm_kd.data.numbers.clauses import ENGLISH_ONLY, PARALLEL
from cmlm_kd.data.numbers.slots import WHEN

HELD_OUT_CLAUSES = 160  # for valid and for test each
LEAST_USES = 2  # by training clauses, of every word of a clause that is held out
SPLIT_SEED = 2020  # which clauses are held out does not depend on the corpus' seed
SLOT = re.compile(r"{(\w+?)(?:_(\d))?}")


@dataclass(frozen=True)
class Clause:
    """One line of a table of clauses; ``german`` is None for monolingual clauses, ``english`` is its id."""

    german: tuple[str, str, str, str] | None  # subject, verb, middle, close
    english: str
    adverbials: frozenset[str]

    @property
    def fixed_words(self) -> frozenset[tuple[str, str]]:
        """The words outside slots, each with its language."""
        german = " ".join(self.german) if self.german else ""
        pairs = [("de", german), ("en", self.english)]
        return frozenset((language, word) for language, text in pairs for word in SLOT.sub("", text).split())

    def names_slot(self, names: Iterable[str]) -> bool:
        """Tell whether a slot of ``names`` occurs in the clause."""
        return not slot_names(self.english).isdisjoint(names)


@dataclass(frozen=True)
class Frame:
    """A sentence pattern with ``{slot}`` or ``{slot_2}`` where values go.

    ``german`` is empty for monolingual frames; ``clause`` is the id of the clause that the frame is around.
    """

    german: str
    english: str
    clause: str = ""


@dataclass(frozen=True)
class Opening:
    """How a clause becomes a sentence.

    ``german`` and ``english`` hold the opening words. ``order`` is ``front`` (an adverbial opens, the verb
    comes second), ``subordinate`` (the verb comes last) or ``plain``. ``kind`` names the adverbials that a
    clause must welcome.
    """

    german: str
    english: str
    order: str
    kind: str = ""
    end: str = "."


OPENINGS = (
    Opening("", "", "plain"),
    Opening("leider", "unfortunately,", "front"),
    Opening("zum Glück", "fortunately,", "front"),
    Opening("vielleicht", "perhaps", "front"),
    Opening("laut {person_3}", "according to {person_3},", "front"),
    Opening("ich glaube, dass", "I think that", "subordinate"),
    Opening("wir wissen, dass", "we know that", "subordinate"),
    Opening("niemand weiß, dass", "nobody knows that", "subordinate"),
    Opening("{person_3} sagt, dass", "{person_3} says that", "subordinate"),
    Opening("{person_3} hofft, dass", "{person_3} hopes that", "subordinate"),
    Opening("in der Zeitung steht, dass", "the newspaper says that", "subordinate"),
    Opening("es stimmt nicht, dass", "it is not true that", "subordinate"),
    Opening("{person_3} fragt, ob", "{person_3} asks if", "subordinate"),
    Opening("weißt du, ob", "do you know if", "subordinate", end="?"),
    Opening("ich frage mich, ob", "I wonder if", "subordinate"),
    Opening("normalerweise", "usually", "front", "habit"),
    Opening("am {weekday}", "on {weekday}", "front", "habit"),
    Opening("jeden {weekday}", "every {weekday}", "front", "habit"),
    Opening("im {month}", "in {month}", "front", "habit"),
    Opening("{ago}", "{ago}", "front", "past"),
    Opening("{in_year}", "{in_year}", "front", "past"),
    Opening("{on_date}", "{on_date},", "front", "past"),
    Opening("am letzten {weekday}", "last {weekday}", "front", "past"),
    Opening("in {territory}", "in {territory}", "front", "place"),
)


def slot_names(pattern: str) -> set[str]:
    """Return the names of the slots of a pattern, without their numbers."""
    return {name for name, _ in SLOT.findall(pattern)}


def _parallel_clause(line: str) -> Clause:
    german, english, adverbials = (part.strip() for part in line.split(">"))
    subject, verb, middle, close = [*(part.strip() for part in german.split("|")), ""][:4]
    return Clause((subject, verb, middle, close), english, frozenset(adverbials.split()))


def _english_clause(line: str) -> Clause:
    english, adverbials = (part.strip() for part in line.split(">"))
    return Clause(None, english, frozenset(adverbials.split()))


def _lines(table: str) -> list[str]:
    return [line for line in table.splitlines() if line and not line.startswith("#")]


def _alike(clauses: Iterable[Clause]) -> list[list[Clause]]:
    """Gather clauses that differ in slots alone: one in training would give the other in the test away."""
    groups: dict[frozenset[tuple[str, str]], list[Clause]] = {}
    for clause in clauses:
        groups.setdefault(clause.fixed_words, []).append(clause)
    return list(groups.values())


@cache
def _clauses_by_split() -> dict[str, tuple[Clause, ...]]:
    """Hold out clauses all of whose words other clauses also use: unseen sentences, not unseen words."""
    clauses = [_parallel_clause(line) for line in _lines(PARALLEL)]
    uses = Counter(word for clause in clauses for word in clause.fixed_words)
    groups = _alike(clauses)
    random.Random(SPLIT_SEED).shuffle(groups)
    held_out: dict[str, list[Clause]] = {"valid": [], "test": []}
    for group in groups:
        split = min(held_out, key=lambda name: len(held_out[name]))
        taken = Counter(word for clause in group for word in clause.fixed_words)
        if len(held_out[split]) + len(group) <= HELD_OUT_CLAUSES and all(
            uses[word] - count >= LEAST_USES for word, count in taken.items()
        ):
            held_out[split] += group
            uses.subtract(taken)
    unseen = {clause for split in held_out.values() for clause in split}
    return {
        "train": tuple(clause for clause in clauses if clause not in unseen),
        **{split: tuple(held) for split, held in held_out.items()},
        "monolingual": tuple(_english_clause(line) for line in _lines(ENGLISH_ONLY)),
    }


def _fits(opening: Opening, clause: Clause) -> bool:
    if opening.kind and opening.kind not in clause.adverbials:
        return False
    used = slot_names(opening.english)
    # One sentence says when, and where, at most once.
    return not (used & WHEN and clause.names_slot(WHEN)) and not (
        "territory" in used and clause.names_slot(["territory"])
    )


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _in_german(opening: Opening, parts: Sequence[str]) -> str:
    subject, verb, middle, close = parts
    particle = close.endswith("-")
    close = close.rstrip("-")
    if opening.order == "subordinate":
        ending = close + verb if particle else _join(close, verb)
        return _join(opening.german, subject, middle, ending) + opening.end
    if opening.order == "front":
        return _join(opening.german, verb, subject, middle, close) + opening.end
    return _join(subject, verb, middle, close) + opening.end


def _frame(opening: Opening, clause: Clause) -> Frame:
    german = _in_german(opening, clause.german) if clause.german else ""
    return Frame(german, _join(opening.english, clause.english) + opening.end, clause.english)


@cache
def frames_of_split(split: str) -> tuple[tuple[Frame, ...], ...]:
    """Return the frames of ``train``, ``valid``, ``test`` or ``monolingual``, one group for each clause."""
    clauses = _clauses_by_split()[split]
    return tuple(
        tuple(_frame(each, clause) for each in OPENINGS if _fits(each, clause)) for clause in clauses
    )
