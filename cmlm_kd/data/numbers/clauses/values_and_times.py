"""Clauses about numbers: prices, times, distances, weights, ages, temperatures and how they change."""
# ruff: noqa: E501 - one clause per line

VALUES_AND_TIMES = """
# costing
{product} |kostet| {price} > {product} costs {price} > place
{dry_goods} |kosten| {price} > {dry_goods} cost {price} > place
{liquid} |kosten| {price} > {liquid} cost {price} > place
{number} {things} |kosten| {price} > {number} {things} cost {price} > place
ein Zimmer |kostet| {price} pro Nacht > a room costs {price} per night > place habit
die Reise nach {territory} |kostet| {price} > the trip to {territory} costs {price} >
die Fahrt nach {territory} |kostet| mehr als {price} > the ride to {territory} costs more than {price} >
{product} |kostete| {price} > {product} cost {price} > past
{event} |kostete| mehr als {price} > {event} cost more than {price} > past
{product} |kostet| {percent} mehr als {product_2} > {product} costs {percent} more than {product_2} > place
eine Karte für {event_acc} |kostet| {price} > a ticket for {event_acc} costs {price} > habit
die Reparatur |kostet| mehr als {price} > the repair costs more than {price} > place
# lasting
{event} |dauert| {event_duration} > {event} lasts {event_duration} > habit
{event} |dauerte| {event_duration} > {event} lasted {event_duration} > past
{event} |dauert| von {clock} bis {clock_2} > {event} lasts from {clock} to {clock_2} > habit
{event} |dauerte| bis {clock} > {event} lasted until {clock} > past
die Fahrt nach {territory} |dauert| {duration} > the ride to {territory} lasts {duration} >
die Reise nach {territory} |dauerte| mehr als {duration} > the trip to {territory} lasted more than {duration} > past
die Reparatur |dauert| mehr als {duration} > the repair lasts more than {duration} >
die Ferien |dauern| von {month} bis {month_2} > the holidays last from {month} to {month_2} > place
die Ferien |dauern| {duration} > the holidays last {duration} > place
{event} |dauert| {event_duration} länger als {event_2} > {event} lasts {event_duration} longer than {event_2} > habit
# opening hours
{place} |öffnet| um {clock} > {place} opens at {clock} > habit
{place} |schließt| um {clock} > {place} closes at {clock} > habit
{place} |öffnet| am {weekday} um {clock} > {place} opens on {weekday} at {clock} >
{place} |schließt| am {weekday} um {clock} > {place} closes on {weekday} at {clock} >
{place} |ist| von {clock} bis {clock_2} |geöffnet > {place} is open from {clock} to {clock_2} > habit
{place} |ist| im {month} |geschlossen > {place} is closed in {month} >
{place} |ist| jeden {weekday} |geschlossen > {place} is closed every {weekday} >
{place} |bleibt| {duration} |geschlossen > {place} stays closed for {duration} >
{place} |bleibt| bis {clock} |geöffnet > {place} stays open until {clock} > habit
{place} |bleibt| bis {month} |geschlossen > {place} stays closed until {month} >
{place} |wurde| {ago} |eröffnet > {place} was opened {ago} >
{place} |wurde| {in_year} |eröffnet > {place} was opened {in_year} >
# travelling
{vehicle} |fährt| um {clock} |ab- > {vehicle} leaves at {clock} > habit
{vehicle} nach {territory} |fährt| um {clock} |ab- > {vehicle} to {territory} leaves at {clock} > habit
{vehicle} |fährt| {ahead} |ab- > {vehicle} leaves {ahead} >
{vehicle} |fährt| von Gleis {small} |ab- > {vehicle} leaves from platform {small} > habit
{vehicle} nach {territory} |fährt| von Gleis {small} |ab- > {vehicle} to {territory} leaves from platform {small} > habit
{vehicle} |kommt| um {clock} |an- > {vehicle} arrives at {clock} > habit
{vehicle} aus {territory} |kommt| um {clock} |an- > {vehicle} from {territory} arrives at {clock} > habit
{vehicle} aus {territory} |kommt| am {weekday} |an- > {vehicle} from {territory} arrives on {weekday} >
{vehicle} |kommt| {short_duration} zu spät |an- > {vehicle} arrives {short_duration} late > habit
{vehicle} |kommt| {ahead} |an- > {vehicle} arrives {ahead} >
das Paket aus {territory} |kommt| {on_date} |an- > the parcel from {territory} arrives {on_date} >
{vehicle} |fährt| alle {short_duration} > {vehicle} runs every {short_duration} > habit
{vehicle} |fährt| {speed} > {vehicle} goes {speed} > place
{person} |fährt| im {month} nach {territory} > {person} goes to {territory} in {month} >
{person} |fährt| {ahead} nach {territory} > {person} goes to {territory} {ahead} >
{person} |ist| {ago} nach {territory} |gefahren > {person} went to {territory} {ago} >
{person} |ist| {in_year} nach {territory} |gefahren > {person} went to {territory} {in_year} >
{profession} |fährt| jeden {weekday} {distance} > {profession} goes {distance} every {weekday} >
{person} |fährt| {distance} pro Stunde > {person} goes {distance} per hour > place
{person} |bleibt| {duration} in {territory} > {person} stays in {territory} for {duration} >
{person} |bleibt| bis {month} in {territory} > {person} stays in {territory} until {month} >
{profession} |bleibt| bis {weekday} in {territory} > {profession} stays in {territory} until {weekday} >
# weighing and measuring
{heavy} |wiegt| {weight} > {heavy} weighs {weight} > place
{heavy} |wiegt| mehr als {weight} > {heavy} weighs more than {weight} >
{heavy} und {heavy_2} |wiegen| zusammen {weight} > {heavy} and {heavy_2} weigh {weight} together >
{heavy} |wog| {weight} > {heavy} weighed {weight} > past
{heavy} |wiegt| {weight} mehr als {heavy_2} > {heavy} weighs {weight} more than {heavy_2} >
{tall} |ist| {height} hoch > {tall} is {height} high > place
{tall} |ist| mehr als {height} hoch > {tall} is more than {height} high > place
{tall} |ist| {height} höher als {tall_2} > {tall} is {height} higher than {tall_2} >
{long} |ist| {distance} lang > {long} is {distance} long > place
{long} |ist| {height} breit > {long} is {height} wide > place
{long} |ist| mehr als {distance} lang > {long} is more than {distance} long > place
{deep} |ist| {height} tief > {deep} is {height} deep > place
{deep} |ist| mehr als {height} tief > {deep} is more than {height} deep >
{large} |ist| {area} groß > {large} is {area} in size > place
{large} |war| {area} groß > {large} was {area} in size > past
die Datei |ist| {storage} groß > the file is {storage} in size >
der Computer |hat| {storage} Speicher > the computer has {storage} of memory >
der Motor |leistet| {power} > the engine delivers {power} >
der neue Motor |leistet| mehr als {power} > the new engine delivers more than {power} >
der Tank |fasst| {volume} > the tank holds {volume} >
der neue Tank |fasst| {volume} mehr > the new tank holds {volume} more >
{place} |liegt| {distance} von hier entfernt > {place} is {distance} away from here >
{place} |liegt| {distance} vom Bahnhof entfernt > {place} is {distance} away from the station >
{profession} |läuft| {distance} in {dative_duration} > {profession} runs {distance} in {dative_duration} > habit
{person} |läuft| jeden {weekday} {distance} > {person} runs {distance} every {weekday} >
{person} |lief| {distance} > {person} ran {distance} > past place
# ages and birthdays
{tall} |ist| {number} Jahre alt > {tall} is {number} years old >
{person} |ist| {age} Jahre alt > {person} is {age} years old >
{person} |ist| {age} Jahre älter als {person_2} > {person} is {age} years older than {person_2} >
{profession} |ist| {age} Jahre jünger als {person} > {profession} is {age} years younger than {person} >
{person} |wird| am {weekday} {age} Jahre alt > {person} turns {age} on {weekday} >
{person} |wurde| {on_date} |geboren > {person} was born {on_date} >
{person} |wurde| {in_year} |geboren > {person} was born {in_year} >
{person} |wurde| {in_year} in {territory} |geboren > {person} was born in {territory} {in_year} >
{person} |hat| {on_date} Geburtstag > {person} has a birthday {on_date} >
{profession} |hat| {in_year} |geheiratet > {profession} married {in_year} >
{tall} |wurde| {in_year} |gebaut > {tall} was built {in_year} >
{long} |wurde| {ago} |gebaut > {long} was built {ago} >
{long} |wurde| in {dative_duration} |gebaut > {long} was built in {dative_duration} > past
# having, buying, paying
{territory} |hat| {millions} Einwohner > {territory} has {millions} inhabitants >
das Buch |hat| {number} Seiten > the book has {number} pages >
{person} |hat| {number} {things} > {person} has {number} {things} >
{place} |hat| {age} Zimmer > {place} has {age} rooms >
{place} |hat| {number} Besucher pro Tag > {place} has {number} visitors per day > habit
{profession} |hat| {number} {things} |gekauft > {profession} bought {number} {things} > past place
{person} |hat| {product_acc} für {price} |gekauft > {person} bought {product_acc} for {price} > past place
{person} |hat| {product_acc} für {price} |verkauft > {person} sold {product_acc} for {price} > past place
{person} |hat| {number} {things} |verkauft > {person} sold {number} {things} > past place
{profession} |kauft| {dry_goods} > {profession} buys {dry_goods} > habit place
{person} |kauft| {liquid} > {person} buys {liquid} > habit
{person} |kauft| {number} {things} für {price} > {person} buys {number} {things} for {price} > place
{person} |verkauft| {product_acc} für {price} > {person} sells {product_acc} for {price} > place
der Laden |verkauft| {number} {things} pro Tag > the shop sells {number} {things} per day > habit
der Laden |verkauft| {dry_goods} pro Woche > the shop sells {dry_goods} per week >
{profession} |bezahlt| {price} für {product_acc} > {profession} pays {price} for {product_acc} > place
{person} |hat| {price} für {event_acc} |bezahlt > {person} paid {price} for {event_acc} > past
{profession} |hat| {price} |bezahlt > {profession} paid {price} > past place
{person} |verdient| {price} pro Stunde > {person} earns {price} per hour > place
{profession} |verdient| {price} pro Monat > {profession} earns {price} per month > place
{profession} |verdient| {percent} mehr als {person} > {profession} earns {percent} more than {person} >
{profession} |spart| {price} pro Woche > {profession} saves {price} per week >
{person} |spart| {price} pro Monat > {person} saves {price} per month >
{person} |schuldet| {person_2} {price} > {person} owes {person_2} {price} >
{person} |hat| {price} |gefunden > {person} found {price} > past place
{person} |hat| {price} |verloren > {person} lost {price} > past place
{profession} |hat| {price} |gewonnen > {profession} won {price} > past place
die Miete |beträgt| {price} pro Monat > the rent is {price} per month > place
die Rechnung |beträgt| {price} > the bill is {price} >
die Rechnung für {event_acc} |beträgt| mehr als {price} > the bill for {event_acc} is more than {price} >
# needing, eating, drinking
{person} |braucht| {dry_goods} > {person} needs {dry_goods} > habit
{person} |braucht| noch {number} {things} > {person} still needs {number} {things} >
{profession} |braucht| noch {duration} > {profession} still needs {duration} >
der Kuchen |braucht| {dry_goods} > the cake needs {dry_goods} >
der Kuchen |braucht| noch {short_duration} > the cake still needs {short_duration} >
{profession} |trinkt| {liquid} pro Tag > {profession} drinks {liquid} per day > habit
{person} |trinkt| {liquid} > {person} drinks {liquid} > habit
{person} |isst| {dry_goods} pro Woche > {person} eats {dry_goods} per week > place
{profession} |isst| um {clock} > {profession} eats at {clock} > habit
# working, sleeping, waiting, living
{profession} |arbeitet| von {clock} bis {clock_2} > {profession} works from {clock} to {clock_2} > habit
{profession} |arbeitet| von {weekday} bis {weekday_2} > {profession} works from {weekday} to {weekday_2} >
{person} |arbeitet| {duration} > {person} works for {duration} >
{person} |arbeitet| bis {clock} > {person} works until {clock} > habit
{profession} |arbeitet| {small} Stunden pro Tag > {profession} works {small} hours per day > habit
{person} |arbeitet| seit {dative_duration} hier > {person} has worked here for {dative_duration} >
{person} |schläft| {short_duration} > {person} sleeps for {short_duration} > habit
{profession} |schläft| bis {clock} > {profession} sleeps until {clock} > habit
{person} |schläft| {small} Stunden pro Nacht > {person} sleeps {small} hours per night >
{person} |wartet| seit {dative_duration} > {person} has waited for {dative_duration} >
{person} |wartete| {duration} auf {vehicle_acc} > {person} waited {duration} for {vehicle_acc} > past place
{profession} |wartet| bis {clock} auf {vehicle_acc} > {profession} waits for {vehicle_acc} until {clock} > habit
{number} {people} |warten| auf {vehicle_acc} > {number} {people} wait for {vehicle_acc} > habit
{person} |wohnt| seit {dative_duration} in {territory} > {person} has lived in {territory} for {dative_duration} >
{profession} |wohnte| {duration} in {territory} > {profession} lived in {territory} for {duration} >
{person} |wohnt| im {ordinal_n} Stock > {person} lives on the {ordinal_n} floor >
{person} |wohnt| in Zimmer {label} > {person} lives in room {label} >
{profession} |arbeitet| im {ordinal_n} Stock > {profession} works on the {ordinal_n} floor > habit
{person} |steht| um {clock} |auf- > {person} gets up at {clock} > habit
{person} |geht| um {clock} ins Bett > {person} goes to bed at {clock} > habit
{person} |ruft| um {clock} |an- > {person} calls at {clock} > habit
{person} |ruft| {ahead} |an- > {person} calls {ahead} >
wir |treffen| uns um {clock} > we meet at {clock} > habit
wir |treffen| uns am {weekday} um {clock} > we meet on {weekday} at {clock} >
wir |treffen| uns {ahead} > we meet {ahead} >
wir |haben| noch {duration} Zeit > we still have {duration} >
# events
{event} |beginnt| um {clock} > {event} begins at {clock} > habit
{event} |beginnt| {on_date} > {event} begins {on_date} >
{event} |beginnt| {ahead} > {event} begins {ahead} >
{event} |begann| {ago} > {event} began {ago} >
{event} |begann| um {clock} > {event} began at {clock} > past
{event} |beginnt| {short_duration} später als geplant > {event} begins {short_duration} later than planned >
{event} |endet| um {clock} > {event} ends at {clock} > habit
{event} |endet| am {weekday} um {clock} > {event} ends on {weekday} at {clock} >
{event} |endete| {ago} > {event} ended {ago} >
{event} |findet| {on_date} |statt- > {event} takes place {on_date} >
{event} |findet| um {clock} |statt- > {event} takes place at {clock} > habit
{event} |findet| im {month} in {territory} |statt- > {event} takes place in {territory} in {month} >
die Ferien |beginnen| {on_date} > the holidays begin {on_date} >
die Ferien |beginnen| {ahead} > the holidays begin {ahead} >
der Krieg |begann| {in_year} > the war began {in_year} >
der Krieg |endete| {in_year} > the war ended {in_year} >
{number} {people} |besuchten| {place_acc} > {number} {people} visited {place_acc} > past
{number} {people} |sahen| {event_acc} > {number} {people} saw {event_acc} > past
{number} {people} |besuchten| {event_acc} in {territory} > {number} {people} visited {event_acc} in {territory} > past
{number} {people} |kommen| am {weekday} > {number} {people} come on {weekday} >
{person} |kommt| am {weekday} um {clock} > {person} comes on {weekday} at {clock} >
{territory} |gewinnt| mit {small} zu {small_2} > {territory} wins with {small} to {small_2} >
{territory} |verlor| mit {small} zu {small_2} > {territory} lost with {small} to {small_2} > past
# rising and falling
der Preis |steigt| um {percent} > the price rises by {percent} > habit place
der Preis |stieg| auf {price} > the price rose to {price} > past place
der Preis |fiel| von {price} auf {price_2} > the price fell from {price} to {price_2} > past
die Temperatur |steigt| auf {temperature} > the temperature rises to {temperature} > habit place
die Temperatur |fiel| auf {temperature} > the temperature fell to {temperature} > past place
die Temperatur |fiel| um {temperature} > the temperature fell by {temperature} > past
die Miete |stieg| um {percent} > the rent rose by {percent} > past place
die Miete |steigt| auf {price} > the rent rises to {price} > place
es |sind| {temperature} > it is {temperature} > place
# reading, writing, languages
{person} |zählt| {number} {things} > {person} counts {number} {things} >
{profession} |zählte| {number} {people} > {profession} counted {number} {people} > past place
{person} |liest| {number} Seiten pro Tag > {person} reads {number} pages per day >
{profession} |las| {age} Bücher in {dative_duration} > {profession} read {age} books in {dative_duration} > past
{person} |schrieb| {number} Briefe > {person} wrote {number} letters > past place
{profession} |schrieb| {number} Seiten in {dative_duration} > {profession} wrote {number} pages in {dative_duration} > past
die Antwort |steht| auf Seite {label} > the answer is on page {label} >
{person} |spricht| {small} Sprachen > {person} speaks {small} languages >
{person} |spricht| {language} und {language_2} > {person} speaks {language} and {language_2} >
{person} |lernt| seit {dative_duration} {language} > {person} has learned {language} for {dative_duration} >
{profession} |lernt| {language} und {language_2} > {profession} learns {language} and {language_2} >
{number} {people} |sprechen| {language} > {number} {people} speak {language} > place
{millions} Menschen |sprechen| {language} > {millions} people speak {language} > place
{percent} der Schüler |lernen| {language} > {percent} of the pupils learn {language} > place
{percent} der Menschen |sprechen| {language} > {percent} of the people speak {language} > place
das Buch |ist| {in_year} auf {language} |erschienen > the book appeared in {language} {in_year} >
das Buch |ist| {on_date} |erschienen > the book appeared {on_date} >
# earlier, later, not so
{place} |öffnet| {short_duration} später > {place} opens {short_duration} later > habit
{place} |öffnet| nicht vor {clock} > {place} does not open before {clock} > habit
{place} |schließt| {short_duration} früher als {place_2} > {place} closes {short_duration} earlier than {place_2} > habit
{place} |war| bis {month} |geschlossen > {place} was closed until {month} >
{place} |war| am {weekday} bis {clock} |geöffnet > {place} was open until {clock} on {weekday} >
{tall} |ist| nicht so hoch wie {tall_2} > {tall} is not as high as {tall_2} > place
{long} |ist| nicht so lang wie {long_2} > {long} is not as long as {long_2} > place
{deep} |ist| nicht so tief wie {deep_2} > {deep} is not as deep as {deep_2} > place
{product} |ist| nicht so alt wie {product_2} > {product} is not as old as {product_2} > place
{event} |endet| {short_duration} später > {event} ends {short_duration} later > habit
{event} |endete| {short_duration} früher als geplant > {event} ended {short_duration} earlier than planned > past
der Preis |stieg| nach {event_dat} um {percent} > the price rose by {percent} after {event_dat} > past place
"""
