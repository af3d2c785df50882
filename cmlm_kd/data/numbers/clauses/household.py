"""Clauses about the household: cooking, eating, cleaning, repairing, carrying, sleeping and the family."""
# ruff: noqa: E501 - one clause per line

HOUSEHOLD = """
# cooking, eating and drinking
{relative} |kocht| für {number} {people} > {relative} cooks for {number} {people} > habit place
{person} |kocht| jeden {weekday} für {relative_acc} > {person} cooks for {relative_acc} every {weekday} >
{profession} |kocht| am Abend {dry_goods} > {profession} cooks {dry_goods} in the evening > habit
{person} |kocht| besser als {relative} > {person} cooks better than {relative} >
{relative} |hat| für {age} {people} |gekocht > {relative} cooked for {age} {people} > past place
{person} |hat| bis {clock} |gekocht > {person} cooked until {clock} > past
{profession} |hat| am {weekday} {dry_goods} |gekocht > {profession} cooked {dry_goods} on {weekday} >
{person} |muss| für {number} {people} |kochen > {person} has to cook for {number} {people} > habit
{relative} |will| am {weekday} |kochen > {relative} wants to cook on {weekday} >
{profession} |wird| um {clock} für uns |kochen > {profession} will cook for us at {clock} >
{person} |kann| {dry_goods} in {dative_duration} |kochen > {person} can cook {dry_goods} in {dative_duration} >
{person} |isst| jeden {weekday} mit {relative_dat} > {person} eats with {relative_dat} every {weekday} >
{relative} |isst| um {clock} {at_place} > {relative} eats {at_place} at {clock} > habit
{person} |isst| weniger als {relative} > {person} eats less than {relative} > habit
{relative} |hat| {dry_goods} |gegessen > {relative} ate {dry_goods} > past place
{person} |hat| seit {clock} nichts |gegessen > {person} has eaten nothing since {clock} >
{person} |hat| seit {dative_duration} kein Fleisch |gegessen > {person} has eaten no meat for {dative_duration} >
{profession} |hat| um {clock} mit {relative_dat} |gegessen > {profession} ate with {relative_dat} at {clock} > past
{person} |möchte| um {clock} |essen > {person} would like to eat at {clock} >
{relative} |will| heute {at_place} |essen > {relative} wants to eat {at_place} today >
{person} |darf| nach {clock} nichts |essen > {person} may eat nothing after {clock} > habit
{profession} |darf| kein Fleisch |essen > {profession} may eat no meat > place
{number} {people} |essen| {at_place} > {number} {people} eat {at_place} > habit
{person} |hat| {liquid} |getrunken > {person} drank {liquid} > past place
{profession} |hat| mit {relative_dat} {liquid} |getrunken > {profession} drank {liquid} with {relative_dat} > past
{number} {people} |haben| nach {event_dat} {liquid} |getrunken > {number} {people} drank {liquid} after {event_dat} > past
{relative} |darf| nur {liquid} |trinken > {relative} may only drink {liquid} >
{person} |soll| {liquid} pro Tag |trinken > {person} should drink {liquid} per day >
{profession} |muss| jeden {weekday} {liquid} |trinken > {profession} has to drink {liquid} every {weekday} >
{person} |möchte| vor {event_dat} {liquid} |trinken > {person} would like to drink {liquid} before {event_dat} >
{person} |trinkt| am Morgen {liquid} > {person} drinks {liquid} in the morning > habit
{relative} |trinkt| nach {event_dat} {liquid} > {relative} drinks {liquid} after {event_dat} > habit
{relative} |trinkt| weniger als {person} > {relative} drinks less than {person} > habit place
# cleaning
{person} |putzt| die Küche in {dative_duration} > {person} cleans the kitchen in {dative_duration} >
{relative} |putzt| jeden {weekday} die Küche > {relative} cleans the kitchen every {weekday} >
{profession} |putzt| {small} Fenster pro Stunde > {profession} cleans {small} windows per hour > place
{person} |hat| die Küche von {clock} bis {clock_2} |geputzt > {person} cleaned the kitchen from {clock} to {clock_2} > past
{relative} |hat| am Morgen {small} Fenster |geputzt > {relative} cleaned {small} windows in the morning > past
{person} |hat| {ago} die Fenster |geputzt > {person} cleaned the windows {ago} >
{place} |wird| jeden {weekday} |geputzt > {place} is cleaned every {weekday} >
{place} |wurde| am {weekday} |geputzt > {place} was cleaned on {weekday} >
{place} |wird| am Abend von {number} {people_dat} |geputzt > {place} is cleaned by {number} {people_dat} in the evening > habit
{person} |muss| die Küche vor {clock} |putzen > {person} has to clean the kitchen before {clock} > habit
{relative} |will| {small} Fenster |putzen > {relative} wants to clean {small} windows >
{profession} |soll| um {clock} die Fenster |putzen > {profession} should clean the windows at {clock} > habit
{person} |kann| am {weekday} die Wohnung |putzen > {person} can clean the apartment on {weekday} >
# repairing
{relative} |repariert| {product_acc} in {dative_duration} > {relative} repairs {product_acc} in {dative_duration} >
{profession} |repariert| am {weekday} {vehicle_acc} > {profession} repairs {vehicle_acc} on {weekday} >
{person} |hat| nach {event_dat} {product_acc} |repariert > {person} repaired {product_acc} after {event_dat} > past
{relative} |hat| {ago} das Auto |repariert > {relative} repaired the car {ago} >
{product} |wurde| {ago} |repariert > {product} was repaired {ago} >
{vehicle} |wurde| in {territory} |repariert > {vehicle} was repaired in {territory} > past
{vehicle} |muss| bis {weekday} |repariert werden > {vehicle} has to be repaired by {weekday} >
{product} |kann| nicht mehr |repariert werden > {product} can no longer be repaired >
{long} |soll| für {price} |repariert werden > {long} is supposed to be repaired for {price} >
{profession} |kann| {product_acc} bis {clock} |reparieren > {profession} can repair {product_acc} by {clock} >
{relative} |will| am {weekday} das Auto |reparieren > {relative} wants to repair the car on {weekday} >
{person} |muss| vor {event_dat} {product_acc} |reparieren > {person} has to repair {product_acc} before {event_dat} >
{profession} |möchte| {vehicle_acc} in {dative_duration} |reparieren > {profession} would like to repair {vehicle_acc} in {dative_duration} >
# carrying and bringing
{person} |trägt| {number} {things} > {person} carries {number} {things} > habit
{relative} |trägt| {heavy_acc} in die Küche > {relative} carries {heavy_acc} into the kitchen >
{profession} |trägt| {product_acc} in den {ordinal_n} Stock > {profession} carries {product_acc} to the {ordinal_n} floor >
{person} |hat| {heavy_acc} {distance} weit |getragen > {person} carried {heavy_acc} for {distance} > past
{relative} |hat| {number} {things} in die Wohnung |getragen > {relative} carried {number} {things} into the apartment > past
{heavy} |wurde| von {small} {people_dat} |getragen > {heavy} was carried by {small} {people_dat} > past
{person} |kann| {weight} |tragen > {person} can carry {weight} >
{relative} |kann| {heavy_acc} nicht |tragen > {relative} cannot carry {heavy_acc} >
{number} {people} |mussten| {heavy_acc} |tragen > {number} {people} had to carry {heavy_acc} > past
{profession} |darf| nicht mehr als {weight} |tragen > {profession} may not carry more than {weight} >
{person} |bringt| {relative_dat} {liquid} > {person} brings {liquid} to {relative_dat} > habit
{relative} |bringt| {number} {things} in die Küche > {relative} brings {number} {things} into the kitchen >
{profession} |bringt| {person} {product_acc} > {profession} brings {product_acc} to {person} > habit
{person} |hat| {profession_dat} {number} {things} |gebracht > {person} brought {number} {things} to {profession_dat} > past
{relative} |hat| um {clock} {product_acc} {to_place} |gebracht > {relative} brought {product_acc} {to_place} at {clock} > past
{heavy} |wurde| {to_place} |gebracht > {heavy} was brought {to_place} > past
{person} |will| {heavy_acc} {to_place} |bringen > {person} wants to bring {heavy_acc} {to_place} >
{profession} |muss| {relative_acc} bis {clock} {to_place} |bringen > {profession} has to bring {relative_acc} {to_place} by {clock} > habit
{person} |wird| {relative_dat} {dry_goods} |bringen > {person} will bring {dry_goods} to {relative_dat} >
# sleeping and getting up
{relative} |schläft| länger als {person} > {relative} sleeps longer than {person} > habit
{person} |schläft| am Nachmittag {short_duration} > {person} sleeps for {short_duration} in the afternoon > habit
{relative} |hat| bis {clock} |geschlafen > {relative} slept until {clock} > past
{person} |hat| nur {small} Stunden |geschlafen > {person} slept for only {small} hours > past place
{profession} |hat| nach {event_dat} {short_duration} |geschlafen > {profession} slept for {short_duration} after {event_dat} > past
{person} |will| bis {clock} |schlafen > {person} wants to sleep until {clock} > habit
{profession} |kann| nach {clock} nicht |schlafen > {profession} cannot sleep after {clock} > habit
{relative} |soll| mehr als {small} Stunden |schlafen > {relative} should sleep more than {small} hours >
{number} {people} |schlafen| bis {clock} > {number} {people} sleep until {clock} > habit
{relative} |steht| vor {clock} |auf- > {relative} gets up before {clock} > habit
{profession} |steht| {short_duration} früher |auf- > {profession} gets up {short_duration} earlier > habit
{person} |muss| um {clock} |aufstehen > {person} has to get up at {clock} > habit
{relative} |will| nicht vor {clock} |aufstehen > {relative} does not want to get up before {clock} > habit
{profession} |wird| am {weekday} um {clock} |aufstehen > {profession} will get up on {weekday} at {clock} >
{person} |ist| um {clock} |aufgestanden > {person} got up at {clock} > past
{relative} |ist| {short_duration} zu spät |aufgestanden > {relative} got up {short_duration} late > past
{person} |ist| {short_duration} vor {relative_dat} |aufgestanden > {person} got up {short_duration} before {relative_dat} > past
{relative} |geht| nach {event_dat} ins Bett > {relative} goes to bed after {event_dat} > habit
{profession} |geht| {short_duration} später ins Bett > {profession} goes to bed {short_duration} later > habit
{person} |musste| um {clock} ins Bett |gehen > {person} had to go to bed at {clock} > past
{relative} |soll| vor {clock} ins Bett |gehen > {relative} should go to bed before {clock} > habit
# when, where and with whom
{profession} |hat| am Abend nichts |gegessen > {profession} ate nothing in the evening > past
{person} |isst| am Morgen nichts > {person} eats nothing in the morning > habit
{person} |will| heute kein Fleisch |essen > {person} wants to eat no meat today >
{relative} |trinkt| am Nachmittag nur {liquid} > {relative} drinks only {liquid} in the afternoon > habit
{person} |musste| am Nachmittag {small} Fenster |putzen > {person} had to clean {small} windows in the afternoon > past
{number} {people} |mussten| vor {clock} |aufstehen > {number} {people} had to get up before {clock} > past
{profession} |konnte| {heavy_acc} nicht |tragen > {profession} could not carry {heavy_acc} > past
{person} |konnte| am Morgen nicht |aufstehen > {person} could not get up in the morning > past
{profession} |geht| am Abend {to_place} > {profession} goes {to_place} in the evening > habit
{person} |geht| mit {relative_dat} {to_place} > {person} goes {to_place} with {relative_dat} > habit
{person} |will| um {clock} {to_place} |gehen > {person} wants to go {to_place} at {clock} > habit
{relative} |muss| mit {number} {people_dat} {to_place} |gehen > {relative} has to go {to_place} with {number} {people_dat} > habit
{relative} |steht| am {weekday} früher |auf- > {relative} gets up earlier on {weekday} >
{person} |hat| heute {small} Stunden |geschlafen > {person} slept for {small} hours today >
{profession} |hat| heute {product_acc} |repariert > {profession} repaired {product_acc} today >
{relative} |trägt| {number} {things} {to_place} > {relative} carries {number} {things} {to_place} > habit
{number} {things} |wurden| {to_place} |gebracht > {number} {things} were brought {to_place} > past
"""
