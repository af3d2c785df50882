"""Filters of translated pairs, each a reason to leave a pair out: ``--filter``."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from cmlm_kd.data.translating.languages import language_identifier
from cmlm_kd.errors import UserError
from cmlm_kd.system.ranges import Range, at_least, check_range

_ANY = Range("a finite number", lambda value: abs(value) < float("inf"))

Value = float | str | None
"""Of a filter; None where the user gives none."""


class Pair(NamedTuple):
    """A source with the hypothesis that was picked.

    Attributes:
        source: text.
        hypothesis: text, perhaps empty.
        score: the model's, or an external scorer's.
        finished: whether the model ended it itself.
    """

    source: str
    hypothesis: str
    score: float
    finished: bool


class Filter(ABC):
    """A reason to leave pairs out.

    Attributes:
        name: of the reason, as the user and the manifest write it.
        default: value where the user gives none; None for a filter that has no value.
        allowed: values that it can have.
        meaning: what a pair must be to stay.
    """

    name: ClassVar[str]
    default: ClassVar[float | None] = None
    allowed: ClassVar[Range] = _ANY
    needs_value: ClassVar[bool] = False

    def __init__(self, value: Value = None) -> None:
        self.value = self.default if value is None else value

    @classmethod
    def read(cls, text: str | None) -> Value:
        """Return the value that stands behind ``--filter NAME=``, None where there is no ``=``.

        Raises:
            UserError: it is missing, of another type, or out of its range.
        """
        if text is None:
            if cls.needs_value:
                raise UserError(f"--filter {cls.name} needs a value, such as {cls.name}=-2")
            return None
        if cls.default is None and not cls.needs_value:
            raise UserError(f"--filter {cls.name} has no value; leave '={text}' out")
        try:
            value = float(text)
        except ValueError:
            raise UserError(f"--filter {cls.name} is {text!r}; it must be a number") from None
        check_range(f"--filter {cls.name}", value, cls.allowed)
        return value

    @abstractmethod
    def keeps(self, pair: Pair) -> bool:
        """Return whether a pair stays."""


class Empty(Filter):
    """Leaves out pairs with a side that says nothing; always on."""

    name = "empty"

    def keeps(self, pair: Pair) -> bool:
        """Both sides have text."""
        return bool(pair.hypothesis) and bool(pair.source.strip())


class Endless(Filter):
    """Leaves out hypotheses that the model was cut off in; always on."""

    name = "endless"

    def keeps(self, pair: Pair) -> bool:
        """The model ended it."""
        return pair.finished


class LengthRatio(Filter):
    """Leaves out pairs of which one side has more than so many times the other's characters."""

    name, default, allowed = "length-ratio", 3.0, at_least(1)

    def keeps(self, pair: Pair) -> bool:
        """The longer side is at most the value times the shorter one; spaces do not count."""
        shorter, longer = sorted(len("".join(side.split())) for side in pair[:2])
        return longer <= float(self.value or 1) * shorter


class Copy(Filter):
    """Leaves out hypotheses that repeat the source; short ones, such as a number, may."""

    name, default, allowed = "copy", 3.0, at_least(1)

    def keeps(self, pair: Pair) -> bool:
        """The sides differ by more than case and spaces, or have fewer words than the value."""
        source, hypothesis = (side.casefold().split() for side in pair[:2])
        return source != hypothesis or len(source) < float(self.value or 1)


class Repetition(Filter):
    """Leaves out hypotheses in which up to four words are said again and again, one time after the other."""

    name, default, allowed = "repetition", 3.0, at_least(2)
    longest: ClassVar[int] = 4

    def keeps(self, pair: Pair) -> bool:
        """No n-gram stands as often as the value in a row, unless the source repeats itself as often."""
        times = float(self.value or 2)
        return _longest_run(pair.hypothesis.split(), self.longest) < times or (
            _longest_run(pair.source.split(), self.longest) >= times
        )


def _longest_run(words: Sequence[str], longest: int) -> int:
    """Return how often in a row an n-gram of up to ``longest`` words stands, at most."""
    best = min(1, len(words))
    for n in range(1, longest + 1):
        equal = 0  # words in a row that are what stood n words before
        for position in range(n, len(words)):
            equal = equal + 1 if words[position] == words[position - n] else 0
            best = max(best, equal // n + 1)
    return best


class Duplicates(Filter):
    """Leaves out pairs that were there before."""

    name = "duplicates"

    def __init__(self, value: Value = None) -> None:
        super().__init__(value)
        self._seen: set[bytes] = set()

    def keeps(self, pair: Pair) -> bool:
        """The first of its kind."""
        digest = hashlib.blake2b("\n".join(pair[:2]).encode(), digest_size=12).digest()
        known = digest in self._seen
        self._seen.add(digest)
        return not known


class Score(Filter):
    """Leaves out hypotheses with a low score: the model's, or that of ``--scorer``."""

    name, needs_value = "score", True

    def keeps(self, pair: Pair) -> bool:
        """The score is at least the value."""
        return pair.score >= float(self.value or 0)


class Language(Filter):
    """Leaves out hypotheses that an identifier takes for another language than the target's, or the value.

    The value is for targets whose language the model knows by a code that the identifier does not know.
    """

    name = "language"

    def __init__(self, value: Value = None) -> None:
        super().__init__(value)
        self.wanted = ""
        self.identify: Callable[[str], str] = lambda text: ""

    @classmethod
    def read(cls, text: str | None) -> Value:
        """Return the language, a code or a name."""
        if text == "":
            raise UserError(f"--filter {cls.name} has an empty value; give {cls.name}=CODE, or leave '=' out")
        return text

    def keeps(self, pair: Pair) -> bool:
        """The identifier says the target language."""
        return self.identify(pair.hypothesis) == self.wanted


FILTERS: dict[str, type[Filter]] = {
    kind.name: kind for kind in (Empty, Endless, LengthRatio, Copy, Repetition, Duplicates, Score, Language)
}
"""Every filter by its name, in the order in which they look at a pair; duplicates are known by then."""

ALWAYS = (Empty.name, Endless.name)


def filter_values(settings: Sequence[str]) -> dict[str, Value]:
    """Return the names that ``--filter NAME[=VALUE] ...`` switches on, with their values.

    Raises:
        UserError: an unknown or repeated name, a value that is missing or out of its range.
    """
    values: dict[str, Value] = dict.fromkeys(ALWAYS)
    for setting in settings:
        name, equals, text = setting.partition("=")
        if name not in FILTERS:
            raise UserError(f"--filter names {name!r}; allowed are {', '.join(FILTERS)}")
        if name in values and name not in ALWAYS:
            raise UserError(f"--filter names {name} twice; give it once")
        values[name] = FILTERS[name].read(text if equals else None)
    return values


def make_filters(settings: Sequence[str], target_language: str | None) -> list[Filter]:
    """Return the filters that ``--filter NAME[=VALUE] ...`` names, and those that are always on.

    Args:
        settings: what the user gave.
        target_language: for the filter of languages.

    Raises:
        UserError: as :func:`filter_values`, or a language that cannot be identified.
    """
    values = filter_values(settings)
    filters = [kind(values[name]) for name, kind in FILTERS.items() if name in values]
    for each in filters:
        if isinstance(each, Language):
            given = target_language if each.value is None else str(each.value)
            each.wanted, each.identify = language_identifier(given)
    return filters
