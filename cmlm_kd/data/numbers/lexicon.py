"""Nouns and names that CLDR does not have; nouns have their article, so that frames can ask for cases."""

from __future__ import annotations

from typing import NamedTuple

from cmlm_kd.system.text import comma_separated


class Phrase(NamedTuple):
    """The same thing in both languages."""

    german: str
    english: str


ACCUSATIVE = {"der": "den", "die": "die", "das": "das", "mein": "meinen", "meine": "meine"}
DATIVE = {"der": "dem", "die": "der", "das": "dem", "mein": "meinem", "meine": "meiner"}
WEAK_NOUNS = {"Bauer": "Bauern", "Elefant": "Elefanten"}  # but for the nominative


def nominative(entry: str) -> Phrase:
    """Return ``"der Zug = train"`` as ``der Zug`` and ``the train``."""
    german, english = entry.split(" = ")
    return Phrase(german, f"the {english}")


def accusative(entry: str) -> Phrase:
    """Return ``"der Zug = train"`` as ``den Zug`` and ``the train``."""
    return _declined(nominative(entry), ACCUSATIVE)


def dative(entry: str) -> Phrase:
    """Return ``"der Zug = train"`` as ``dem Zug`` and ``the train``."""
    return _declined(nominative(entry), DATIVE)


def relative_in_accusative(entry: str) -> Phrase:
    """Return ``"mein Bruder = my brother"`` as ``meinen Bruder`` and ``my brother``."""
    return _declined(as_it_stands(entry), ACCUSATIVE)


def relative_in_dative(entry: str) -> Phrase:
    """Return ``"mein Bruder = my brother"`` as ``meinem Bruder`` and ``my brother``."""
    return _declined(as_it_stands(entry), DATIVE)


def plural_dative(entry: str) -> Phrase:
    """Return ``"Kinder = children"`` as ``Kindern`` and ``children``."""
    phrase = as_it_stands(entry)
    ending = "" if phrase.german.endswith(("n", "s")) else "n"
    return Phrase(phrase.german + ending, phrase.english)


def _declined(phrase: Phrase, articles: dict[str, str]) -> Phrase:
    article, noun = phrase.german.split(" ", 1)
    return Phrase(f"{articles[article]} {WEAK_NOUNS.get(noun, noun)}", phrase.english)


def as_it_stands(entry: str) -> Phrase:
    """Return ``"Äpfel = apples"`` as it stands."""
    return Phrase(*entry.split(" = "))


def _entries(text: str) -> tuple[str, ...]:
    return comma_separated(" ".join(text.split()))


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


VEHICLES = _entries("""
    der Zug = train, der Bus = bus, die Fähre = ferry, die Straßenbahn = tram, das Schiff = ship, der
    Nachtzug = night train, der Schnellzug = express train, der Schulbus = school bus
""")
EVENTS = _entries("""
    das Konzert = concert, die Sitzung = meeting, der Film = film, der Kurs = course, die Ausstellung =
    exhibition, das Spiel = match, die Prüfung = exam, die Vorlesung = lecture, der Unterricht = lesson, die
    Feier = party, die Hochzeit = wedding, die Konferenz = conference, die Führung = guided tour, das Rennen
    = race
""")
PLACES = _entries("""
    das Museum = museum, die Bibliothek = library, die Bäckerei = bakery, die Apotheke = pharmacy, das
    Schwimmbad = swimming pool, das Restaurant = restaurant, das Kino = cinema, der Markt = market, die Bank
    = bank, der Laden = shop, das Büro = office, die Schule = school, der Zoo = zoo, das Rathaus = town
    hall, das Theater = theater, der Bahnhof = station
""")
PRODUCTS = _entries("""
    der Mantel = coat, die Jacke = jacket, das Fahrrad = bicycle, die Lampe = lamp, der Tisch = table, der
    Stuhl = chair, die Uhr = watch, die Kamera = camera, der Koffer = suitcase, der Regenschirm = umbrella,
    das Buch = book, der Teppich = carpet, der Ring = ring, das Sofa = sofa, der Kühlschrank = fridge, die
    Gitarre = guitar, das Hemd = shirt, die Tasche = bag, der Spiegel = mirror, das Bild = picture, das Zelt
    = tent, der Drucker = printer, der Computer = computer, das Klavier = piano
""")
HEAVY_THINGS = _entries("""
    der Koffer = suitcase, das Paket = parcel, der Hund = dog, die Katze = cat, das Pferd = horse, der Stein
    = stone, der Tisch = table, das Fahrrad = bicycle, der Elefant = elephant, die Kiste = box, der Schrank
    = wardrobe, das Klavier = piano, der Teppich = carpet, die Kuh = cow
""")
TALL_THINGS = _entries("""
    der Turm = tower, der Berg = mountain, der Baum = tree, die Mauer = wall, die Kirche = church, das Haus
    = house, das Schloss = castle, die Statue = statue
""")
LONG_THINGS = _entries("""
    die Brücke = bridge, der Fluss = river, die Straße = street, der Tunnel = tunnel, der Weg = path, der
    Zaun = fence, der Strand = beach, die Mauer = wall
""")
DEEP_THINGS = _entries("""
    der See = lake, der Brunnen = well, der Fluss = river, das Becken = basin, der Tunnel = tunnel, das Meer
    = sea
""")
LARGE_THINGS = _entries("""
    das Zimmer = room, der Garten = garden, die Wohnung = apartment, das Haus = house, das Feld = field, der
    Wald = forest, die Insel = island, der Park = park
""")
PROFESSIONS = _entries("""
    der Lehrer = teacher, die Ärztin = doctor, der Fahrer = driver, die Nachbarin = neighbor, der Koch =
    cook, die Ingenieurin = engineer, die Studentin = student, der Bäcker = baker, die Richterin = judge,
    der Bauer = farmer, die Chefin = boss, der Bürgermeister = mayor, die Sängerin = singer, der Maler =
    painter, der Verkäufer = salesman, die Fotografin = photographer
""")
DRY_GOODS = _entries("""
    Mehl = flour, Zucker = sugar, Reis = rice, Butter = butter, Käse = cheese, Kaffee = coffee, Salz = salt,
    Kartoffeln = potatoes, Zwiebeln = onions, Tomaten = tomatoes, Schokolade = chocolate, Fleisch = meat
""")
LIQUIDS = _entries("""
    Wasser = water, Milch = milk, Öl = oil, Wein = wine, Saft = juice, Bier = beer, Tee = tea, Suppe = soup
""")
THINGS = _entries("""
    Bücher = books, Stühle = chairs, Karten = tickets, Flaschen = bottles, Eier = eggs, Briefe = letters,
    Fotos = photos, Bäume = trees, Häuser = houses, Schlüssel = keys, Lampen = lamps, Tische = tables,
    Fenster = windows, Bleistifte = pencils, Münzen = coins, Kerzen = candles, Teller = plates, Äpfel =
    apples, Rosen = roses, Fahrräder = bicycles, Zeitungen = newspapers, Hemden = shirts, Tassen = cups,
    Bilder = pictures, Schafe = sheep, Hühner = chickens, Kühe = cows, Pferde = horses
""")
PEOPLE = _entries("""
    Kinder = children, Gäste = guests, Schüler = pupils, Touristen = tourists, Arbeiter = workers, Frauen =
    women, Männer = men, Lehrer = teachers, Studenten = students, Ärzte = doctors
""")
RELATIVES = _entries("""
    meine Mutter = my mother, mein Vater = my father, meine Schwester = my sister, mein Bruder = my brother,
    meine Tante = my aunt, mein Onkel = my uncle, meine Tochter = my daughter, mein Sohn = my son, meine
    Frau = my wife, mein Mann = my husband, meine Freundin = my girlfriend, mein Freund = my boyfriend,
    meine Großmutter = my grandmother, mein Großvater = my grandfather
""")
AT_PLACES = _entries("""
    im Museum = at the museum, in der Bibliothek = at the library, in der Bäckerei = at the bakery, in der
    Apotheke = at the pharmacy, im Schwimmbad = at the swimming pool, im Restaurant = at the restaurant, im
    Kino = at the cinema, auf dem Markt = at the market, in der Bank = at the bank, im Laden = at the shop,
    im Büro = at the office, in der Schule = at school, im Zoo = at the zoo, im Rathaus = at the town hall,
    im Theater = at the theater, am Bahnhof = at the station, zu Hause = at home, am Strand = at the beach
""")
TO_PLACES = _entries("""
    ins Museum = to the museum, in die Bibliothek = to the library, in die Bäckerei = to the bakery, in die
    Apotheke = to the pharmacy, ins Schwimmbad = to the swimming pool, ins Restaurant = to the restaurant,
    ins Kino = to the cinema, auf den Markt = to the market, zur Bank = to the bank, in den Laden = to the
    shop, ins Büro = to the office, in die Schule = to school, in den Zoo = to the zoo, ins Rathaus = to
    the town hall, ins Theater = to the theater, zum Bahnhof = to the station, an den Strand = to the beach
""")
TRANSPORT = _entries("""
    mit dem Zug = by train, mit dem Bus = by bus, mit dem Fahrrad = by bicycle, mit dem Auto = by car, mit
    dem Schiff = by ship, mit der Straßenbahn = by tram, mit der Fähre = by ferry, mit dem Taxi = by taxi
""")
SUBJECTS = _entries("""
    Mathematik = mathematics, Geschichte = history, Physik = physics, Chemie = chemistry, Biologie =
    biology, Musik = music, Kunst = art, Philosophie = philosophy
""")
SPORTS = _entries("""
    Fußball = football, Tennis = tennis, Handball = handball, Basketball = basketball, Volleyball =
    volleyball, Tischtennis = table tennis, Schach = chess, Hockey = hockey
""")
INSTRUMENTS = _entries("""
    Klavier = the piano, Gitarre = the guitar, Geige = the violin, Flöte = the flute, Trompete = the trumpet
""")
COLORS = _entries("""
    rot = red, blau = blue, grün = green, gelb = yellow, weiß = white, schwarz = black, braun = brown, grau
    = gray
""")
COMPARATIVES = _entries("""
    teurer = more expensive, billiger = cheaper, größer = bigger, kleiner = smaller, schwerer = heavier,
    leichter = lighter, älter = older, neuer = newer, schöner = more beautiful, besser = better
""")
PERSONS = _entries("""
    Anna, Paul, Maria, Thomas, Laura, David, Julia, Martin, Eva, Simon, Nina, Oskar, Clara, Felix, Helena,
    Jonas, Lena, Max, Sarah, Robert, Emma, Peter, Lisa, Victor
""")

# CLDR codes whose names take no article in either language, so that "in", "nach" and "aus" fit as they are.
TERRITORIES = _codes("""
    AF AL DZ AO AR AM AU AT AZ BD BE BO BR BG KH CM CA CL CN CO HR CU CY CZ DK EC EG EE ET FI FR GE DE GH GR
    GT HU IS IN ID IE IL IT JP JO KZ KE KR LA LV LY LT LU MG MY MT MX MA MZ NP NZ NI NG NO PK PY PE PL PT RO
    RU SA SN RS SG SI ZA ES SE SY TW TZ TH TN UG UY UZ VE VN YE ZM ZW
""")
LANGUAGES = _codes("""
    ar hy eu bn bg ca hr cs da nl en et fi fr ka de el he hi hu is id ga it ja ko la lv lt mk mt mn no fa pl
    pt ro ru sr sk sl es sw sv th tr uk ur vi cy
""")
CURRENCIES = _codes("""
    EUR USD GBP CHF JPY CAD AUD SEK NOK DKK CZK HUF MXN BRL INR NZD CLP ISK RUB EGP ZAR KRW ILS TRY ARS
""")
