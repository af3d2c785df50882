"""Clauses for the monolingual English text: the same words and values in other constructions."""

ENGLISH_ONLY = """
the price of {product} is {price} > place
the price of {product} fell by {percent} > past
{person} paid {price} for {product} > past place
{event} took {event_duration} > past
{event} starts at {clock} and ends at {clock_2} > habit
{vehicle} leaves at {clock} and arrives at {clock_2} > habit
{vehicle} leaves on {weekday} and arrives on {weekday_2} >
{place} opens at {clock} and closes at {clock_2} > habit
{place} is open on {weekday} and {weekday_2} > habit
{place} is closed from {month} to {month_2} >
{person} was born {on_date} in {territory} >
{person} moved to {territory} {in_year} >
{person} speaks {language}, {language_2} and {language_3} >
{territory} and {territory_2} are {distance} apart >
the height of {tall} is {height} >
the length of {long} is {distance} >
the depth of {deep} is {height} >
the weight of {heavy} is {weight} >
the area of {large} is {area} >
{price} is more than {price_2} >
{number} is more than {number_2} >
{duration} is longer than {duration_2} >
there are {number} {people} in {place} > habit
there are {number} {things} in {place} > habit
{number} of the {people} speak {language} > place
{number} {things} and {number_2} {things_2} cost {price} > place
{person} bought {dry_goods} and {liquid} > past
{person} mixes {dry_goods} with {liquid} >
{person} is {age} and {person_2} is {age_2} years old >
{person} and {person_2} meet on {weekday} at {clock} >
{person} works on {weekday} from {clock} to {clock_2} >
{profession} worked in {territory} for {duration} > past
the population of {territory} is {millions} >
the temperature in {territory} is {temperature} > habit
the holidays in {territory} start {on_date} >
{event} in {territory} took place {on_date} >
{event} in {territory} took place {ago} >
the {ordinal} page of the book is about {territory} >
the {ordinal} of {month} is a {weekday} >
{month} comes after {month_2} >
{weekday} comes before {weekday_2} >
{person} came in {ordinal} place > past
{vehicle} leaves every {weekday} at {clock} >
{vehicle} leaves every {short_duration} > habit
{vehicle} leaves platform {small} at {clock} > habit
{vehicle} to {territory} leaves {on_date} >
{vehicle} has a speed of {speed} >
{event} begins on {weekday} at {clock} >
{event} begins in {month} >
{event} takes place every {weekday} >
{event} takes place in {territory} > habit
{event} lasts until {clock} > habit
{place} is closed on {weekday} >
{place} is closed until {month} >
{place} was built {in_year} >
{place} was closed for {duration} > past
{profession} sleeps from {clock} to {clock_2} > habit
{profession} works on {weekday} and {weekday_2} >
{profession} sleeps for {short_duration} > habit
{profession} works until {clock} > habit
{person} buys {product} and {product_2} for {price} > habit place
{person} stays in {territory} from {month} to {month_2} >
{person} speaks {language} with {person_2} > habit
{people} in {territory} speak {language} >
{heavy} weighs less than {weight} >
{tall} weighs {weight} more than {heavy} >
{large} in {territory} is {area} in size >
{long} in {territory} was built {in_year} >
{duration} are enough for {event} >
{price} are enough for {product} >
{relative} and {person} cook for {number} {people} > habit
{relative} cooked {dry_goods} with {person} > past
{person} ate {dry_goods} and drank {liquid} > past
{relative} eats {at_place} every {weekday} >
{person} cleaned {small} windows before {event_dat} > past
{relative} has to clean the apartment on {weekday} >
{product} was repaired by {relative_dat} > past
{person} has to repair {product_acc} for {relative_dat} >
{heavy} was carried to the {ordinal_n} floor > past
{number} {people} carried {number_2} {things} > past
{relative} brought {liquid} to {event_acc} > past
{person} slept {at_place} until {clock} > past
{relative} got up at {clock} and went to bed at {clock_2} > past
{relative} worked {at_place} from {clock} to {clock_2} > past
{person} wants to work {at_place} from {month} >
{person} and {relative} are looking for work in {territory} >
{profession} founded the company with {number} {people_dat} > past
the company has customers in {territory} and {territory_2} >
the company sold {number} {things} > past place
{event} was postponed from {weekday} to {weekday_2} >
the appointment lasts from {clock} to {clock_2} > habit
{relative} studied {subject} and {subject_2} > past place
{person} teaches {subject} {at_place} > habit
{number} {people} study {subject} in {territory} >
{relative} learned {language} and {language_2} > past
{person} read the newspaper until {clock} > past
{relative} wrote {small} letters to {profession_dat} > past
{person} can read and write {language} >
{relative} went {by_transport} from {territory} to {territory_2} > past
{vehicle} was {short_duration} late > past place
{person} has to take {vehicle_acc} to {territory} >
{relative} missed {vehicle_acc} and {event_acc} > past
{person} waited {at_place} for {vehicle_acc} > past
{number} {people} stayed in {territory} for {duration} > past
{relative} visited {person} in {territory} > past
{person} and {relative} visited {place_acc} > past
{relative} met {profession_acc} {at_place} > past
{person} called {relative_acc} and {profession_acc} > past
{relative} and {person} play {sport} > habit place
{number} {people} played {sport} {at_place} > past
{territory} lost against {territory_2} > past
{person} ran and swam {distance} > past
{relative} plays {instrument} {at_place} > habit
{person} celebrates {at_place} with {relative_dat} > habit
it rained and snowed for {duration} > past place
it rains in {territory} > habit
the winter in {territory} lasts {duration} >
the summer was warmer than {temperature} > past place
{relative} bought {product_acc} {at_place} > past
{person} sold {profession_acc} {number} {things} > past
{relative} has to pay {price} for {product_acc} >
{person} cannot pay more than {price} > place
{relative} rented {large_acc} for {price} > past
the apartment in {territory} costs {price} per month >
{person} ordered {liquid} and {dry_goods} > past
{relative} sent {product_acc} from {territory} to {territory_2} > past
the parcel for {relative_acc} weighs {weight} >
{person} found {product_acc} {at_place} > past
{relative} gave {person} {product_acc} for {price} > past
{profession} showed {relative_dat} {large_acc} > past
{relative} helped {number} {people_dat} {at_place} > past
{product} is {color} and {product_2} is {color_2} >
{tall} is {comparative} than {tall_2} > place
{person} painted {number} pictures of {tall_acc} > past
"""
