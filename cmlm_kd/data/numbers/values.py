"""Slot values other than times: one value each, said in both languages through CLDR or num2words."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from babel import Locale
from babel.numbers import format_compact_decimal, format_currency, format_decimal, get_currency_name
from babel.units import format_unit
from num2words import num2words

from cmlm_kd.data.numbers import lexicon
from cmlm_kd.data.numbers.lexicon import Phrase

GERMAN, ENGLISH = "de", "en"


@dataclass
class Draw:
    """A seeded source of values; ``wide`` draws from richer ranges (monolingual text)."""

    random: random.Random
    wide: bool = False

    def one_of(self, options: Sequence[str]) -> str:
        """Return one of ``options``, each equally likely."""
        return options[self.random.randrange(len(options))]

    def happens(self, probability: float) -> bool:
        """Return True with ``probability``."""
        return self.random.random() < probability

    def integer(self, low: int, high: int) -> int:
        """Return an integer in ``[low, high]``, its magnitude spread evenly: small numbers are common."""
        high = high * 10 if self.wide and high > 99 else high
        return min(high, int(low * ((high + 1) / low) ** self.random.random()))


Slot = Callable[[Draw], Phrase]


def in_both(write: Callable[[str], str]) -> Phrase:
    """Return what ``write`` says for each locale, with plain spaces."""
    # CLDR separates with no-break spaces, which no tokeniser or reader of the text should have to care about.
    texts = (" ".join(write(locale).split()) for locale in (GERMAN, ENGLISH))
    return Phrase(*texts)


@cache
def spelled(number: int) -> Phrase:
    """Return a cardinal in words: ``dreiundvierzig``, ``forty-three``."""
    return in_both(lambda locale: num2words(number, lang=locale))


def figures(number: int | Decimal) -> Phrase:
    """Return a number in digits with the separators of each language: ``1.234,5``, ``1,234.5``."""
    return in_both(lambda locale: format_decimal(number, locale=locale))


def number_phrase(draw: Draw, low: int, high: int, in_words: float = 0.65) -> tuple[int, Phrase]:
    """Draw a number in ``[low, high]`` and say it in words (with probability ``in_words``) or digits."""
    number = draw.integer(low, high)
    return number, spelled(number) if draw.happens(in_words) else figures(number)


def _with_unit(draw: Draw, unit: str, low: int, high: int, in_words: float = 0.65) -> Phrase:
    if draw.happens(0.15):
        tenths = Decimal(draw.integer(low, high) * 10 + draw.random.randint(1, 9)) / 10
        return in_both(lambda locale: format_unit(tenths, unit, locale=locale))
    number, words = number_phrase(draw, low, high, in_words)
    digits = figures(number)
    quantity = in_both(lambda locale: format_unit(number, unit, locale=locale))
    return Phrase(*(whole.replace(old, new) for whole, old, new in zip(quantity, digits, words, strict=True)))


def number_between(low: int, high: int) -> Slot:
    """Return a slot of plain cardinals in words or digits."""
    return lambda draw: number_phrase(draw, low, high)[1]


def digits_between(low: int, high: int) -> Slot:
    """Return a slot of numbers that are labels (rooms, pages): digits without separators."""
    return lambda draw: Phrase(*[str(draw.integer(low, high))] * 2)


def quantity(**ranges: tuple[int, int]) -> Slot:
    """Return a slot of quantities; the keywords are CLDR units (``_`` for ``-``) with their range."""
    units = [name.replace("_", "-") for name in ranges]

    def draw_quantity(draw: Draw) -> Phrase:
        unit = draw.one_of(units)
        return _with_unit(draw, unit, *ranges[unit.replace("-", "_")])

    return draw_quantity


def goods(measure: Slot, names: Sequence[str]) -> Slot:
    """Return a slot of measured goods: ``drei Kilogramm Mehl``, ``three kilograms of flour``."""

    def draw_goods(draw: Draw) -> Phrase:
        amount, name = measure(draw), lexicon.as_it_stands(draw.one_of(names))
        return Phrase(f"{amount.german} {name.german}", f"{amount.english} of {name.english}")

    return draw_goods


def noun(entries: Sequence[str], case: Callable[[str], Phrase] = lexicon.nominative) -> Slot:
    """Return a slot of nouns of the lexicon in one case."""
    return lambda draw: case(draw.one_of(entries))


def person(draw: Draw) -> Phrase:
    """Draw a first name, the same in both languages."""
    name = draw.one_of(lexicon.PERSONS)
    return Phrase(name, name)


def cldr_name(kind: str, codes: Sequence[str]) -> Slot:
    """Return a slot of CLDR display names; ``kind`` is ``territories`` or ``languages``."""
    german, english = (getattr(Locale(locale), kind) for locale in (GERMAN, ENGLISH))

    def draw_name(draw: Draw) -> Phrase:
        code = draw.one_of(codes)
        return Phrase(german[code], english[code])

    return draw_name


def price(draw: Draw) -> Phrase:
    """Draw a price: in words or digits with the currency's CLDR name, or with its symbol."""
    currency = "EUR" if draw.happens(0.35) else draw.one_of(lexicon.CURRENCIES)
    style = draw.random.random()
    if style < 0.2:
        cents = Decimal(draw.integer(2, 500) * 100 + 5 * draw.random.randrange(20)) / 100
        return in_both(lambda locale: format_currency(cents, currency, locale=locale))
    number, words = number_phrase(draw, 2, 2000, in_words=0.75)
    names = in_both(lambda locale: get_currency_name(currency, number, locale=locale))
    return Phrase(f"{words.german} {names.german}", f"{words.english} {names.english}")


def percent(draw: Draw) -> Phrase:
    """Draw a percentage."""
    return _with_unit(draw, "concentr-percent", 2, 99)


def millions(draw: Draw) -> Phrase:
    """Draw a rounded large number: ``3,4 Millionen``, ``3.4 million``."""
    number = draw.integer(11, 990) * 100_000

    def write(locale: str) -> str:
        return format_compact_decimal(number, format_type="long", locale=locale, fraction_digits=1)

    return in_both(write)


def ordinal(ending: str) -> Slot:
    """Return a slot of spelled ordinals; ``ending`` inflects the German one (``dritte``, ``dritten``)."""

    def draw_ordinal(draw: Draw) -> Phrase:
        words = ordinal_words(draw.integer(2, 60))
        return Phrase(words.german + ending, words.english)

    return draw_ordinal


@cache
def ordinal_words(number: int) -> Phrase:
    """Return an ordinal in words: ``dritte``, ``third``."""
    return in_both(lambda locale: num2words(number, lang=locale, to="ordinal"))
