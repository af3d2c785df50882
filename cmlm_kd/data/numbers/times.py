"""Slot values that tell time: durations, days, dates and the clock."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from babel.dates import format_date, format_time, get_day_names, get_month_names
from babel.units import format_unit
from num2words import num2words

from cmlm_kd.data.numbers.lexicon import Phrase
from cmlm_kd.data.numbers.values import Draw, Slot, in_both, number_phrase, ordinal_words, spelled

EARLIEST_DAY, LATEST_DAY = datetime.date(1900, 1, 1), datetime.date(2049, 12, 31)
DURATION_RANGES = {
    "duration-second": (10, 90),
    "duration-minute": (2, 90),
    "duration-hour": (2, 48),
    "duration-day": (2, 60),
    "duration-week": (2, 30),
    "duration-month": (2, 24),
    "duration-year": (2, 60),
}
DATIVE_PLURALS = {"Tage": "Tagen", "Monate": "Monaten", "Jahre": "Jahren"}


def _whole_duration(draw: Draw, units: Sequence[str]) -> Phrase:
    unit = draw.one_of(units)
    number, words = number_phrase(draw, *DURATION_RANGES[unit])
    names = in_both(lambda locale: format_unit(number, unit, locale=locale).split(" ", 1)[1])
    return Phrase(f"{words.german} {names.german}", f"{words.english} {names.english}")


def duration(*units: str) -> Slot:
    """Return a slot of durations in the accusative, as after ``dauert``; by default from minutes to years."""
    chosen = [f"duration-{unit}" for unit in units] or list(DURATION_RANGES)[1:]
    return lambda draw: _whole_duration(draw, chosen)


def _dative(phrase: Phrase) -> Phrase:
    words = [DATIVE_PLURALS.get(word, word) for word in phrase.german.split(" ")]
    return Phrase(" ".join(words), phrase.english)


def dative_duration(draw: Draw) -> Phrase:
    """Draw a duration in the dative, as after ``seit``: ``drei Tagen``."""
    return _dative(_whole_duration(draw, list(DURATION_RANGES)[1:]))


def ago(draw: Draw) -> Phrase:
    """Draw ``vor drei Tagen`` / ``three days ago``."""
    phrase = dative_duration(draw)
    return Phrase(f"vor {phrase.german}", f"{phrase.english} ago")


def ahead(draw: Draw) -> Phrase:
    """Draw ``in drei Tagen`` / ``in three days``."""
    phrase = dative_duration(draw)
    return Phrase(f"in {phrase.german}", f"in {phrase.english}")


def weekday(draw: Draw) -> Phrase:
    """Draw the name of a weekday."""
    day = draw.random.randrange(7)
    return in_both(lambda locale: get_day_names("wide", locale=locale)[day])


def month(draw: Draw) -> Phrase:
    """Draw the name of a month."""
    number = draw.random.randint(1, 12)
    return in_both(lambda locale: get_month_names("wide", locale=locale)[number])


def _year_words(year: int) -> Phrase:
    return in_both(lambda locale: num2words(year, lang=locale, to="year"))


def in_year(draw: Draw) -> Phrase:
    """Draw ``im Jahr 1987`` / ``in 1987``, the year in words or digits."""
    year = draw.random.randint(1500 if draw.wide else 1850, 2040)
    words = _year_words(year) if draw.happens(0.6) else Phrase(str(year), str(year))
    return Phrase(f"im Jahr {words.german}", f"in {words.english}")


def _a_day(draw: Draw) -> datetime.date:
    span = (LATEST_DAY - EARLIEST_DAY).days
    return EARLIEST_DAY + datetime.timedelta(days=draw.random.randint(0, span))


def on_date(draw: Draw) -> Phrase:
    """Draw a date with its preposition, written long, full or with the day in words."""
    day = _a_day(draw)
    style = draw.random.random()
    if style < 0.35:
        words = ordinal_words(day.day)
        months = in_both(lambda locale: get_month_names("wide", locale=locale)[day.month])
        return Phrase(f"am {words.german}n {months.german}", f"on the {words.english} of {months.english}")
    length = "long" if style < 0.75 else "full"
    date = in_both(lambda locale: format_date(day, length, locale=locale))
    return Phrase(f"am {date.german}", f"on {date.english}")


def clock(draw: Draw) -> Phrase:
    """Draw a time of day as people say it (``halb vier``) or write it (``15:30 Uhr``)."""
    if draw.happens(0.3):
        time = datetime.time(draw.random.randint(5, 23), 5 * draw.random.randrange(12))
        phrase = in_both(lambda locale: format_time(time, "short", locale=locale))
        return Phrase(f"{phrase.german} Uhr", phrase.english)
    return spoken_clock(draw.random.randint(1, 12), 5 * draw.random.randrange(12), draw.happens(0.3))


def spoken_clock(hour: int, minute: int, plainly: bool) -> Phrase:
    """Return a time as it is said; ``plainly`` names hour and minutes, but for the full hour."""
    this, following = spelled(hour), spelled(hour % 12 + 1)
    if minute == 0:
        return Phrase(f"{'ein' if hour == 1 else this.german} Uhr", f"{this.english} o'clock")
    if plainly and minute > 5:
        minutes = spelled(minute)
        return Phrase(
            f"{'ein' if hour == 1 else this.german} Uhr {minutes.german}", f"{this.english} {minutes.english}"
        )
    if 25 <= minute <= 35:
        return _around_half(minute, this, following)
    nearest = following if minute > 30 else this
    distance = min(minute, 60 - minute)
    gap = Phrase("Viertel", "a quarter") if distance == 15 else spelled(distance)
    side = Phrase("vor", "to") if minute > 30 else Phrase("nach", "past")
    return Phrase(
        f"{gap.german} {side.german} {nearest.german}", f"{gap.english} {side.english} {nearest.english}"
    )


def _around_half(minute: int, this: Phrase, following: Phrase) -> Phrase:
    # German counts towards the hour to come: 3:25 is "five before half four".
    half = f"halb {following.german}"
    if minute == 25:
        return Phrase(f"fünf vor {half}", f"twenty-five past {this.english}")
    if minute == 35:
        return Phrase(f"fünf nach {half}", f"twenty-five to {following.english}")
    return Phrase(half, f"half past {this.english}")
