"""Clauses about travel and leisure: going, visiting, playing, sport, music, the weather and celebrations."""
# ruff: noqa: E501 - one clause per line

TRAVEL_AND_LEISURE = """
# going and travelling
{relative} |fährt| {by_transport} {to_place} > {relative} goes {to_place} {by_transport} > habit
{person} |fährt| um {clock} {by_transport} nach {territory} > {person} goes to {territory} {by_transport} at {clock} >
{profession} |fährt| jeden {weekday} {to_place} > {profession} goes {to_place} every {weekday} >
{relative} |ist| {by_transport} nach {territory} |gefahren > {relative} went to {territory} {by_transport} > past
{person} |ist| {distance} {by_transport} |gefahren > {person} went {distance} {by_transport} > past place
{person} |muss| am {weekday} nach {territory} |fahren > {person} has to go to {territory} on {weekday} >
{relative} |möchte| {by_transport} nach {territory} |fahren > {relative} would like to go to {territory} {by_transport} >
{number} {people} |fahren| {by_transport} nach {territory} > {number} {people} go to {territory} {by_transport} >
{person} |will| im {month} nach {territory} |fahren > {person} wants to go to {territory} in {month} >
{vehicle} |kann| {speed} |fahren > {vehicle} can go {speed} >
das Auto |darf| nur {speed} |fahren > the car may only go {speed} > place
das Auto |fährt| schneller als {vehicle} > the car goes faster than {vehicle} >
{vehicle} |fährt| nicht nach {territory} > {vehicle} does not go to {territory} >
{vehicle} nach {territory} |ist| {short_duration} zu spät |abgefahren > {vehicle} to {territory} left {short_duration} late > past
{vehicle} |ist| um {clock} von Gleis {small} |abgefahren > {vehicle} left from platform {small} at {clock} > past
{vehicle} |ist| {ago} |abgefahren > {vehicle} left {ago} >
{vehicle} |wird| {short_duration} später |abfahren > {vehicle} will leave {short_duration} later >
{vehicle} |soll| um {clock} |abfahren > {vehicle} is supposed to leave at {clock} > habit
{vehicle} |muss| vor {clock} |abfahren > {vehicle} has to leave before {clock} > habit
{vehicle} |ist| um {clock} in {territory} |angekommen > {vehicle} arrived in {territory} at {clock} > past
{relative} |ist| {ago} in {territory} |angekommen > {relative} arrived in {territory} {ago} >
{person} |ist| {short_duration} früher |angekommen > {person} arrived {short_duration} earlier > past place
{person} |ist| mit {number} {people_dat} |angekommen > {person} arrived with {number} {people_dat} > past
{vehicle} |soll| in {dative_duration} |ankommen > {vehicle} is supposed to arrive in {dative_duration} >
{relative} |wird| nach {clock} |ankommen > {relative} will arrive after {clock} >
{profession} |muss| bis {clock} {at_place} |ankommen > {profession} has to arrive {at_place} by {clock} > habit
{relative} |nimmt| {vehicle_acc} um {clock} > {relative} takes {vehicle_acc} at {clock} > habit
{person} |nimmt| {vehicle_acc} nach {territory} > {person} takes {vehicle_acc} to {territory} >
{profession} |nimmt| jeden {weekday} {vehicle_acc} > {profession} takes {vehicle_acc} every {weekday} >
{person} |muss| {vehicle_acc} um {clock} |nehmen > {person} has to take {vehicle_acc} at {clock} > habit
{relative} |will| {vehicle_acc} nach {territory} |nehmen > {relative} wants to take {vehicle_acc} to {territory} >
{person} |hat| {vehicle_acc} um {short_duration} |verpasst > {person} missed {vehicle_acc} by {short_duration} > past
{relative} |hat| {vehicle_acc} nach {territory} |verpasst > {relative} missed {vehicle_acc} to {territory} > past
{number} {people} |haben| {vehicle_acc} |verpasst > {number} {people} missed {vehicle_acc} > past
{profession} |hat| {event_acc} |verpasst > {profession} missed {event_acc} > past
{person} |will| {event_acc} nicht |verpassen > {person} does not want to miss {event_acc} >
{relative} |darf| {vehicle_acc} nicht |verpassen > {relative} must not miss {vehicle_acc} >
{person} |wohnt| {distance} von {relative_dat} entfernt > {person} lives {distance} away from {relative_dat} >
{relative} |hat| {duration} in {territory} |gewohnt > {relative} lived in {territory} for {duration} > past
{profession} |hat| im {ordinal_n} Stock |gewohnt > {profession} lived on the {ordinal_n} floor > past
{person} |möchte| in {territory} |wohnen > {person} would like to live in {territory} >
{relative} |kann| bis {month} in der Wohnung |wohnen > {relative} can live in the apartment until {month} >
{person} |kann| {duration} in {territory} |bleiben > {person} can stay in {territory} for {duration} >
{relative} |muss| bis {clock} {at_place} |bleiben > {relative} has to stay {at_place} until {clock} > habit
{profession} |will| nur {duration} |bleiben > {profession} wants to stay for only {duration} >
{relative} |ist| bis {month} in {territory} |geblieben > {relative} stayed in {territory} until {month} >
{person} |ist| {duration} länger |geblieben > {person} stayed {duration} longer > past place
{number} {people} |sind| bis {clock} |geblieben > {number} {people} stayed until {clock} > past
{person} |wartet| {at_place} auf {relative_acc} > {person} waits for {relative_acc} {at_place} > habit
{relative} |hat| {short_duration} auf {profession_acc} |gewartet > {relative} waited {short_duration} for {profession_acc} > past
{number} {people} |haben| {at_place} |gewartet > {number} {people} waited {at_place} > past
{person} |muss| noch {short_duration} |warten > {person} still has to wait for {short_duration} >
{profession} |will| nicht länger als {short_duration} |warten > {profession} does not want to wait longer than {short_duration} >
{relative} |soll| bis {clock} auf uns |warten > {relative} should wait for us until {clock} > habit
# visiting and meeting
{profession} |besucht| {relative_acc} im {month} > {profession} visits {relative_acc} in {month} >
{person} |besucht| jeden {weekday} {place_acc} > {person} visits {place_acc} every {weekday} >
{person} |hat| {relative_acc} in {territory} |besucht > {person} visited {relative_acc} in {territory} > past
{number} {people} |haben| am {weekday} {place_acc} |besucht > {number} {people} visited {place_acc} on {weekday} >
{place} |wird| von {millions} Menschen |besucht > {place} is visited by {millions} people > place
{place} |wurde| am {weekday} von {number} {people_dat} |besucht > {place} was visited by {number} {people_dat} on {weekday} >
{relative} |möchte| {event_acc} in {territory} |besuchen > {relative} would like to visit {event_acc} in {territory} >
{person} |wird| {profession_acc} {ahead} |besuchen > {person} will visit {profession_acc} {ahead} >
{profession} |kann| {relative_acc} nur am {weekday} |besuchen > {profession} can visit {relative_acc} only on {weekday} >
{person} |trifft| {relative_acc} {at_place} > {person} meets {relative_acc} {at_place} > habit
{relative} |trifft| {profession_acc} um {clock} > {relative} meets {profession_acc} at {clock} > habit
{person} |hat| {profession_acc} {ago} |getroffen > {person} met {profession_acc} {ago} >
{relative} |hat| {number} {people} {at_place} |getroffen > {relative} met {number} {people} {at_place} > past
{person} |will| {profession_acc} vor {event_dat} |treffen > {person} wants to meet {profession_acc} before {event_dat} >
{profession} |soll| {relative_acc} am {weekday} |treffen > {profession} should meet {relative_acc} on {weekday} >
{relative} |hat| {person} um {clock} |angerufen > {relative} called {person} at {clock} > past
{person} |hat| {profession_acc} seit {dative_duration} nicht |angerufen > {person} has not called {profession_acc} for {dative_duration} >
{profession} |ruft| {relative_acc} nach {event_dat} |an- > {profession} calls {relative_acc} after {event_dat} > habit
{person} |ruft| jeden {weekday} {relative_acc} |an- > {person} calls {relative_acc} every {weekday} >
{relative} |will| {profession_acc} vor {clock} |anrufen > {relative} wants to call {profession_acc} before {clock} > habit
{person} |wird| {relative_acc} am {weekday} |anrufen > {person} will call {relative_acc} on {weekday} >
# sport and games
{relative} |spielt| jeden {weekday} {sport} > {relative} plays {sport} every {weekday} >
{person} |spielt| seit {dative_duration} {sport} > {person} has played {sport} for {dative_duration} >
{profession} |spielt| besser {sport} als {person} > {profession} plays {sport} better than {person} >
{person} |spielt| {sport} mit {relative_dat} > {person} plays {sport} with {relative_dat} > habit
{number} {people} |spielen| {at_place} {sport} > {number} {people} play {sport} {at_place} > habit
{percent} der Kinder |spielen| {sport} > {percent} of the children play {sport} > place
{relative} |will| am {weekday} {sport} |spielen > {relative} wants to play {sport} on {weekday} >
{person} |darf| bis {clock} {sport} |spielen > {person} may play {sport} until {clock} > habit
{profession} |konnte| {duration} nicht {sport} |spielen > {profession} could not play {sport} for {duration} > past
{person} |hat| von {clock} bis {clock_2} {sport} |gespielt > {person} played {sport} from {clock} to {clock_2} > past
{number} {people} |haben| gegen uns {sport} |gespielt > {number} {people} played {sport} against us > past
{territory} |hat| gegen {territory_2} mit {small} zu {small_2} |gewonnen > {territory} won with {small} to {small_2} against {territory_2} > past
{person} |hat| das Rennen um {short_duration} |gewonnen > {person} won the race by {short_duration} > past
{relative} |hat| gegen {person} |gewonnen > {relative} won against {person} > past place
{profession} |hat| das Spiel gegen {person} |verloren > {profession} lost the match against {person} > past
{territory} |hat| das Spiel mit {small} zu {small_2} |verloren > {territory} lost the match with {small} to {small_2} > past
{person} |will| das Rennen |gewinnen > {person} wants to win the race > place
{relative} |kann| das Spiel nicht mehr |gewinnen > {relative} can no longer win the match >
{territory} |muss| gegen {territory_2} |gewinnen > {territory} has to win against {territory_2} >
{relative} |läuft| {speed} > {relative} runs {speed} >
{person} |läuft| schneller als {profession} > {person} runs faster than {profession} >
{person} |ist| das Rennen in {dative_duration} |gelaufen > {person} ran the race in {dative_duration} > past
{relative} |ist| {distance} |gelaufen > {relative} ran {distance} > past place
{profession} |kann| {distance} in {dative_duration} |laufen > {profession} can run {distance} in {dative_duration} >
{person} |muss| noch {distance} |laufen > {person} still has to run {distance} >
{relative} |schwimmt| jeden {weekday} {distance} > {relative} swims {distance} every {weekday} >
{person} |schwimmt| schneller als {relative} > {person} swims faster than {relative} >
{profession} |ist| {distance} |geschwommen > {profession} swam {distance} > past place
{relative} |ist| {distance} in {dative_duration} |geschwommen > {relative} swam {distance} in {dative_duration} > past
{person} |kann| {distance} |schwimmen > {person} can swim {distance} >
{profession} |will| jeden {weekday} |schwimmen > {profession} wants to swim every {weekday} >
# music and celebrations
{person} |spielt| seit {dative_duration} {instrument} > {person} has played {instrument} for {dative_duration} >
{relative} |kann| {instrument} |spielen > {relative} can play {instrument} >
{profession} |hat| {instrument} in {territory} |gelernt > {profession} learned {instrument} in {territory} > past
{person} |hat| {at_place} {instrument} |gespielt > {person} played {instrument} {at_place} > past
{relative} |feiert| {on_date} Geburtstag > {relative} celebrates a birthday {on_date} >
{person} |feiert| mit {number} {people_dat} > {person} celebrates with {number} {people_dat} > habit place
{profession} |feiert| bis {clock} > {profession} celebrates until {clock} > habit
{relative} |hat| {ago} Geburtstag |gefeiert > {relative} celebrated a birthday {ago} >
{number} {people} |haben| bis {clock} |gefeiert > {number} {people} celebrated until {clock} > past
{event} |wurde| mit {liquid} |gefeiert > {event} was celebrated with {liquid} > past
{person} |will| in {territory} Geburtstag |feiern > {person} wants to celebrate a birthday in {territory} >
{relative} |möchte| mit {people_dat} aus {territory} |feiern > {relative} would like to celebrate with {people_dat} from {territory} >
{person} |wird| am {weekday} mit {relative_dat} |feiern > {person} will celebrate with {relative_dat} on {weekday} >
# the weather
es |regnet| seit {dative_duration} > it has rained for {dative_duration} > place
es |regnet| jeden {weekday} > it rains every {weekday} > place
es |regnet| mehr als {duration} > it rains for more than {duration} > habit place
es |regnete| von {clock} bis {clock_2} > it rained from {clock} to {clock_2} > past place
es |regnete| {duration} > it rained for {duration} > past place
es |hat| nach {event_dat} |geregnet > it rained after {event_dat} > past place
es |wird| am {weekday} |regnen > it will rain on {weekday} > place
es |soll| bis {clock} |regnen > it is supposed to rain until {clock} > habit place
es |schneit| seit {clock} > it has snowed since {clock} > place
es |schneit| im {month} > it snows in {month} > place
es |hat| {duration} |geschneit > it snowed for {duration} > past place
es |hat| am {weekday} bis {clock} |geschneit > it snowed until {clock} on {weekday} > place
es |wird| {ahead} |schneien > it will snow {ahead} > place
es |soll| am {weekday} |schneien > it is supposed to snow on {weekday} > place
es |waren| {temperature} > it was {temperature} > past place
es |ist| wärmer als {temperature} > it is warmer than {temperature} > place
es |war| kälter als {temperature} > it was colder than {temperature} > past place
der Sommer in {territory} |war| wärmer als in {territory_2} > the summer in {territory} was warmer than in {territory_2} > past
der Winter |war| um {temperature} kälter > the winter was colder by {temperature} > past place
der Winter |dauert| von {month} bis {month_2} > the winter lasts from {month} to {month_2} > place
der Sommer |dauert| {duration} > the summer lasts {duration} > place
der Winter |beginnt| im {month} > the winter begins in {month} > place
der Sommer |hat| {ago} |begonnen > the summer began {ago} > place
{event} |hat| vor {clock} |begonnen > {event} began before {clock} > past
{event} |hat| mit {number} {people_dat} |begonnen > {event} began with {number} {people_dat} > past
# never, today, earlier
{person} |kann| heute nicht {by_transport} |fahren > {person} cannot go {by_transport} today >
{number} {people} |müssen| {vehicle_acc} |nehmen > {number} {people} have to take {vehicle_acc} > habit
{profession} |kann| {vehicle_acc} um {clock} nicht mehr |nehmen > {profession} can no longer take {vehicle_acc} at {clock} >
{person} |darf| den Termin nicht |verpassen > {person} must not miss the appointment >
{profession} |will| das Spiel nicht |verpassen > {profession} does not want to miss the match > place
{relative} |hat| nie in {territory} |gewohnt > {relative} never lived in {territory} >
{profession} |hat| nie {sport} |gespielt > {profession} never played {sport} > place
{person} |hat| {small} Jahre im {ordinal_n} Stock |gewohnt > {person} lived on the {ordinal_n} floor for {small} years > past
{relative} |will| ab {month} in {territory} |wohnen > {relative} wants to live in {territory} from {month} >
{profession} |kann| nur {duration} in {territory} |wohnen > {profession} can live in {territory} for only {duration} >
{person} |hat| bis {clock} auf {vehicle_acc} |gewartet > {person} waited for {vehicle_acc} until {clock} > past
{profession} |hat| {at_place} auf {relative_acc} |gewartet > {profession} waited for {relative_acc} {at_place} > past
{profession} |trifft| {age} {people} > {profession} meets {age} {people} > habit place
{relative} |trifft| jeden {weekday} {person} > {relative} meets {person} every {weekday} >
{profession} |hat| {relative_acc} am {weekday} |getroffen > {profession} met {relative_acc} on {weekday} >
{person} |hat| {relative_acc} nie |getroffen > {person} never met {relative_acc} >
{profession} |hat| {small} Kunden |angerufen > {profession} called {small} customers > past
{person} |hat| am Abend {profession_acc} |angerufen > {person} called {profession_acc} in the evening > past
{profession} |ist| am Morgen {distance} |gelaufen > {profession} ran {distance} in the morning > past
{person} |ist| schneller als {relative} |gelaufen > {person} ran faster than {relative} > past place
{relative} |will| {distance} in {dative_duration} |laufen > {relative} wants to run {distance} in {dative_duration} >
{person} |konnte| nicht schneller |laufen > {person} could not run faster > past
{person} |ist| das Rennen {short_duration} schneller |gelaufen > {person} ran the race {short_duration} faster > past
{profession} |schwimmt| am Abend {distance} > {profession} swims {distance} in the evening > habit
{person} |schwimmt| {distance} pro Woche > {person} swims {distance} per week > place
{person} |ist| am Nachmittag {distance} |geschwommen > {person} swam {distance} in the afternoon > past
{person} |ist| am {weekday} bis {clock} |geschwommen > {person} swam until {clock} on {weekday} >
{relative} |muss| {distance} |schwimmen > {relative} has to swim {distance} >
{relative} |darf| nach {clock} nicht |schwimmen > {relative} may not swim after {clock} > habit
es |regnet| am Nachmittag mehr als {duration} > it rains for more than {duration} in the afternoon > habit place
es |wird| vor {clock} nicht |regnen > it will not rain before {clock} > place
es |kann| im {month} |regnen > it can rain in {month} > place
es |schneit| mehr als in {territory} > it snows more than in {territory} >
es |kann| bis {month} |schneien > it can snow until {month} > place
es |hat| seit {dative_duration} nicht |geregnet > it has not rained for {dative_duration} > place
es |hat| seit {dative_duration} nicht |geschneit > it has not snowed for {dative_duration} > place
es |wird| um {temperature} wärmer > it gets warmer by {temperature} > habit place
es |wird| kälter als {temperature} > it gets colder than {temperature} > habit place
der Winter |war| kälter als in {territory} > the winter was colder than in {territory} > past
{vehicle} |kommt| {short_duration} früher |an- > {vehicle} arrives {short_duration} earlier > habit
{event} |beginnt| {short_duration} früher > {event} begins {short_duration} earlier > habit
"""
