"""The slots that frames may name, and what fills them."""

from __future__ import annotations

from cmlm_kd.data.numbers import lexicon, times, values
from cmlm_kd.data.numbers.values import Slot

WEIGHT = values.quantity(mass_kilogram=(2, 90), mass_pound=(2, 90), mass_gram=(200, 900))
VOLUME = values.quantity(
    volume_liter=(2, 900), volume_milliliter=(20, 900), volume_gallon=(2, 90), volume_cubic_meter=(2, 400)
)
KITCHEN_WEIGHT = values.quantity(
    mass_gram=(20, 900),
    mass_kilogram=(2, 40),
    mass_pound=(2, 20),
    mass_ounce=(2, 20),
    volume_tablespoon=(2, 12),
    volume_teaspoon=(2, 12),
)
KITCHEN_VOLUME = values.quantity(
    volume_liter=(2, 60), volume_milliliter=(20, 900), volume_cup=(2, 12), volume_gallon=(2, 20)
)

SLOTS: dict[str, Slot] = {
    # numbers
    "number": values.number_between(2, 999),
    "small": values.number_between(2, 30),
    "age": values.number_between(2, 98),
    "label": values.digits_between(2, 400),
    "millions": values.millions,
    "percent": values.percent,
    "ordinal": values.ordinal(""),
    "ordinal_n": values.ordinal("n"),
    # time
    "clock": times.clock,
    "weekday": times.weekday,
    "month": times.month,
    "on_date": times.on_date,
    "in_year": times.in_year,
    "ago": times.ago,
    "ahead": times.ahead,
    "duration": times.duration(),
    "event_duration": times.duration("minute", "hour", "day"),
    "short_duration": times.duration("second", "minute", "hour"),
    "dative_duration": times.dative_duration,
    # money and measures
    "price": values.price,
    "weight": WEIGHT,
    "volume": VOLUME,
    "height": values.quantity(length_meter=(2, 900), length_foot=(2, 900), length_centimeter=(120, 900)),
    "distance": values.quantity(length_kilometer=(2, 900), length_meter=(20, 900), length_mile=(2, 300)),
    "area": values.quantity(
        area_square_meter=(2, 900), area_hectare=(2, 400), area_square_kilometer=(2, 900)
    ),
    "speed": values.quantity(speed_kilometer_per_hour=(20, 99), speed_mile_per_hour=(20, 90)),
    "temperature": values.quantity(temperature_celsius=(2, 40), temperature_fahrenheit=(10, 100)),
    "power": values.quantity(power_watt=(5, 900), power_kilowatt=(2, 500), power_horsepower=(2, 500)),
    "storage": values.quantity(
        digital_megabyte=(2, 900), digital_gigabyte=(2, 900), digital_terabyte=(2, 40)
    ),
    "dry_goods": values.goods(KITCHEN_WEIGHT, lexicon.DRY_GOODS),
    "liquid": values.goods(KITCHEN_VOLUME, lexicon.LIQUIDS),
    # names
    "person": values.person,
    "territory": values.cldr_name("territories", lexicon.TERRITORIES),
    "language": values.cldr_name("languages", lexicon.LANGUAGES),
    # nouns
    "vehicle": values.noun(lexicon.VEHICLES),
    "vehicle_acc": values.noun(lexicon.VEHICLES, lexicon.accusative),
    "event": values.noun(lexicon.EVENTS),
    "event_dat": values.noun(lexicon.EVENTS, lexicon.dative),
    "event_acc": values.noun(lexicon.EVENTS, lexicon.accusative),
    "place": values.noun(lexicon.PLACES),
    "place_acc": values.noun(lexicon.PLACES, lexicon.accusative),
    "product": values.noun(lexicon.PRODUCTS),
    "product_acc": values.noun(lexicon.PRODUCTS, lexicon.accusative),
    "heavy": values.noun(lexicon.HEAVY_THINGS),
    "heavy_acc": values.noun(lexicon.HEAVY_THINGS, lexicon.accusative),
    "tall": values.noun(lexicon.TALL_THINGS),
    "tall_acc": values.noun(lexicon.TALL_THINGS, lexicon.accusative),
    "long": values.noun(lexicon.LONG_THINGS),
    "deep": values.noun(lexicon.DEEP_THINGS),
    "large": values.noun(lexicon.LARGE_THINGS),
    "large_acc": values.noun(lexicon.LARGE_THINGS, lexicon.accusative),
    "profession": values.noun(lexicon.PROFESSIONS),
    "profession_acc": values.noun(lexicon.PROFESSIONS, lexicon.accusative),
    "profession_dat": values.noun(lexicon.PROFESSIONS, lexicon.dative),
    "relative": values.noun(lexicon.RELATIVES, lexicon.as_it_stands),
    "relative_acc": values.noun(lexicon.RELATIVES, lexicon.relative_in_accusative),
    "relative_dat": values.noun(lexicon.RELATIVES, lexicon.relative_in_dative),
    "things": values.noun(lexicon.THINGS, lexicon.as_it_stands),
    "people": values.noun(lexicon.PEOPLE, lexicon.as_it_stands),
    "people_dat": values.noun(lexicon.PEOPLE, lexicon.plural_dative),
    # words and phrases that stay as they are
    "at_place": values.noun(lexicon.AT_PLACES, lexicon.as_it_stands),
    "to_place": values.noun(lexicon.TO_PLACES, lexicon.as_it_stands),
    "by_transport": values.noun(lexicon.TRANSPORT, lexicon.as_it_stands),
    "subject": values.noun(lexicon.SUBJECTS, lexicon.as_it_stands),
    "sport": values.noun(lexicon.SPORTS, lexicon.as_it_stands),
    "instrument": values.noun(lexicon.INSTRUMENTS, lexicon.as_it_stands),
    "color": values.noun(lexicon.COLORS, lexicon.as_it_stands),
    "comparative": values.noun(lexicon.COMPARATIVES, lexicon.as_it_stands),
}
# Slots that say when; a sentence says it at most once.
WHEN = {"weekday", "month", "on_date", "in_year", "ago", "ahead"}
