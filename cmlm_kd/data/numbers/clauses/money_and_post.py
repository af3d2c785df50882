"""Clauses about money and post: buying, paying, ordering, renting, sending, finding, giving and comparing."""
# ruff: noqa: E501 - one clause per line

MONEY_AND_POST = """
# buying and selling
{relative} |kauft| jeden {weekday} {dry_goods} > {relative} buys {dry_goods} every {weekday} >
{person} |kauft| {relative_dat} {product_acc} > {person} buys {product_acc} for {relative_dat} >
{profession} |kauft| {at_place} {number} {things} > {profession} buys {number} {things} {at_place} > habit
{relative} |hat| {at_place} {dry_goods} |gekauft > {relative} bought {dry_goods} {at_place} > past
{person} |hat| {relative_dat} {product_acc} |gekauft > {person} bought {product_acc} for {relative_dat} > past place
{product} |wurde| für {price} |gekauft > {product} was bought for {price} > past place
{person} |will| {product_acc} nicht |kaufen > {person} does not want to buy {product_acc} >
{relative} |muss| noch {liquid} |kaufen > {relative} still has to buy {liquid} >
{profession} |möchte| {product_acc} für {price} |kaufen > {profession} would like to buy {product_acc} for {price} > place
{number} {people} |haben| {number_2} {things} |gekauft > {number} {people} bought {number_2} {things} > past place
{profession} |verkauft| {at_place} {dry_goods} > {profession} sells {dry_goods} {at_place} > habit
{relative} |verkauft| {number} {things} an {profession_acc} > {relative} sells {number} {things} to {profession_acc} >
{number} {things} |wurden| für {price} |verkauft > {number} {things} were sold for {price} > past place
{product} |wurde| {on_date} |verkauft > {product} was sold {on_date} >
{person} |will| {product_acc} für mehr als {price} |verkaufen > {person} wants to sell {product_acc} for more than {price} > place
{profession} |kann| {number} {things} pro Tag |verkaufen > {profession} can sell {number} {things} per day > place
{relative} |musste| {product_acc} für {price} |verkaufen > {relative} had to sell {product_acc} for {price} > past place
{person} |hat| das Auto für {price} |verkauft > {person} sold the car for {price} > past place
# paying, saving and owing
{relative} |bezahlt| die Rechnung am {weekday} > {relative} pays the bill on {weekday} >
{person} |bezahlt| {price} Miete > {person} pays {price} in rent > place
{relative} |hat| die Rechnung {ago} |bezahlt > {relative} paid the bill {ago} >
{person} |hat| {price} weniger als {relative} |bezahlt > {person} paid {price} less than {relative} > past place
{profession} |hat| für {number} {things} {price} |bezahlt > {profession} paid {price} for {number} {things} > past place
die Rechnung |wurde| nicht |bezahlt > the bill was not paid > past
die Rechnung |muss| bis {weekday} |bezahlt werden > the bill has to be paid by {weekday} >
die Miete |muss| im {month} |bezahlt werden > the rent has to be paid in {month} > place
{person} |muss| noch {price} |bezahlen > {person} still has to pay {price} >
{profession} |will| nicht mehr als {price} |bezahlen > {profession} does not want to pay more than {price} > place
{relative} |kann| die Miete nicht |bezahlen > {relative} cannot pay the rent >
{number} {people} |müssen| {price} für {event_acc} |bezahlen > {number} {people} have to pay {price} for {event_acc} > place
{relative} |spart| seit {dative_duration} für {product_acc} > {relative} has saved for {product_acc} for {dative_duration} >
{person} |spart| {percent} mehr als {relative} > {person} saves {percent} more than {relative} > place
{profession} |hat| in {dative_duration} {price} |gespart > {profession} saved {price} in {dative_duration} > past
{relative} |hat| {price} für die Reise |gespart > {relative} saved {price} for the trip > past
{person} |will| {price} pro Woche |sparen > {person} wants to save {price} per week >
{relative} |muss| für die Reise nach {territory} |sparen > {relative} has to save for the trip to {territory} >
{relative} |schuldet| {profession_dat} noch {price} > {relative} still owes {profession_dat} {price} >
{profession} |schuldet| {relative_dat} {number} {things} > {profession} owes {relative_dat} {number} {things} >
die Reise |kostet| weniger als {price} > the trip costs less than {price} > place
{vehicle} nach {territory} |kostet| {price} > {vehicle} to {territory} costs {price} >
das Auto |kostete| {price} weniger als geplant > the car cost {price} less than planned > past
{event} |hat| {price} mehr als geplant |gekostet > {event} cost {price} more than planned > past
{product} |hat| {relative_acc} {price} |gekostet > {product} cost {relative_acc} {price} > past
die Reparatur |hat| {price} |gekostet > the repair cost {price} > past place
das Haus |kostet| {price} mehr als die Wohnung > the house costs {price} more than the apartment > place
# renting
{relative} |mietet| das Auto für {price} pro Tag > {relative} rents the car for {price} per day > place
{person} |mietet| für {event_acc} {number} {things} > {person} rents {number} {things} for {event_acc} >
{profession} |hat| {ago} das Haus |gemietet > {profession} rented the house {ago} >
{person} |hat| die Wohnung für {duration} |gemietet > {person} rented the apartment for {duration} > past
{large} |wurde| für {price} |gemietet > {large} was rented for {price} > past place
{relative} |will| ab {month} die Wohnung |mieten > {relative} wants to rent the apartment from {month} >
{person} |möchte| für {duration} das Auto |mieten > {person} would like to rent the car for {duration} >
{profession} |kann| {large_acc} nicht |mieten > {profession} cannot rent {large_acc} >
die Wohnung |hat| {small} Zimmer > the apartment has {small} rooms >
die Wohnung |liegt| im {ordinal_n} Stock > the apartment is on the {ordinal_n} floor >
die Wohnung |ist| {area} größer als das Haus > the apartment is {area} bigger than the house >
das Haus |liegt| {distance} vom Bahnhof entfernt > the house is {distance} away from the station >
das Haus |wurde| {in_year} |gebaut > the house was built {in_year} >
die Miete |ist| {percent} höher als in {territory} > the rent is {percent} higher than in {territory} >
die Miete |soll| um {price} |steigen > the rent is supposed to rise by {price} > place
die Temperatur |soll| auf {temperature} |steigen > the temperature is supposed to rise to {temperature} > place
der Preis |wird| um {percent} |steigen > the price will rise by {percent} > place
der Preis |ist| {ago} um {price} |gestiegen > the price rose by {price} {ago} > place
die Temperatur |ist| in {dative_duration} um {temperature} |gestiegen > the temperature rose by {temperature} in {dative_duration} > past place
# ordering and sending
{relative} |bestellt| {product_acc} für {price} > {relative} orders {product_acc} for {price} >
{person} |bestellt| {at_place} {liquid} > {person} orders {liquid} {at_place} > habit
{profession} |hat| {ago} {number} {things} |bestellt > {profession} ordered {number} {things} {ago} >
{relative} |hat| für {event_acc} {liquid} |bestellt > {relative} ordered {liquid} for {event_acc} > past
{number} {things} |wurden| {on_date} |bestellt > {number} {things} were ordered {on_date} >
{person} |will| {dry_goods} |bestellen > {person} wants to order {dry_goods} >
{relative} |muss| bis {clock} {number} {things} |bestellen > {relative} has to order {number} {things} by {clock} >
{profession} |möchte| {product_acc} aus {territory} |bestellen > {profession} would like to order {product_acc} from {territory} >
{person} |schickt| {relative_dat} {number} {things} > {person} sends {number} {things} to {relative_dat} > habit
{relative} |schickt| {profession_dat} {product_acc} > {relative} sends {product_acc} to {profession_dat} >
{profession} |schickt| das Paket nach {territory} > {profession} sends the parcel to {territory} >
{relative} |hat| {person} {small} Briefe |geschickt > {relative} sent {small} letters to {person} > past
{person} |hat| {relative_dat} {price} |geschickt > {person} sent {price} to {relative_dat} > past
das Paket |wurde| {ago} nach {territory} |geschickt > the parcel was sent to {territory} {ago} >
der Brief |wurde| {on_date} |geschickt > the letter was sent {on_date} >
{profession} |muss| {relative_dat} die Rechnung |schicken > {profession} has to send the bill to {relative_dat} >
{person} |will| {product_acc} nach {territory} |schicken > {person} wants to send {product_acc} to {territory} >
{relative} |wird| {profession_dat} am {weekday} das Paket |schicken > {relative} will send the parcel to {profession_dat} on {weekday} >
der Brief |ist| {short_duration} nach {relative_dat} |angekommen > the letter arrived {short_duration} after {relative_dat} > past
das Paket |ist| nach {dative_duration} |angekommen > the parcel arrived after {dative_duration} > past place
das Paket |wiegt| {weight} > the parcel weighs {weight} >
das Paket |wog| mehr als {product} > the parcel weighed more than {product} > past
der Brief |hat| {small} Seiten > the letter has {small} pages >
# finding, giving, showing
{person} |findet| {number} {things} > {person} finds {number} {things} > habit place
{relative} |findet| {product_acc} {at_place} > {relative} finds {product_acc} {at_place} > habit
{profession} |hat| {product_acc} nach {dative_duration} |gefunden > {profession} found {product_acc} after {dative_duration} > place
{product} |wurde| {at_place} |gefunden > {product} was found {at_place} > past
{person} |kann| {product_acc} nicht |finden > {person} cannot find {product_acc} >
{relative} |muss| {product_acc} vor {clock} |finden > {relative} has to find {product_acc} before {clock} >
{profession} |will| in {territory} eine Wohnung |finden > {profession} wants to find an apartment in {territory} >
{relative} |sucht| seit {dative_duration} {product_acc} > {relative} has looked for {product_acc} for {dative_duration} >
{person} |hat| {short_duration} {relative_acc} |gesucht > {person} looked for {relative_acc} for {short_duration} > past
{profession} |hat| {at_place} {product_acc} |gesucht > {profession} looked for {product_acc} {at_place} > past
{relative} |hat| {at_place} {product_acc} |verloren > {relative} lost {product_acc} {at_place} > past
{person} |gibt| {relative_dat} {price} pro Woche > {person} gives {relative_dat} {price} per week >
{relative} |gibt| {profession_dat} {product_acc} > {relative} gives {profession_dat} {product_acc} > habit
{profession} |hat| {relative_dat} {number} {things} |gegeben > {profession} gave {relative_dat} {number} {things} > past
{person} |hat| {profession_dat} {ago} {product_acc} |gegeben > {person} gave {profession_dat} {product_acc} {ago} >
{relative} |will| {person} {price} |geben > {relative} wants to give {person} {price} >
{person} |kann| {relative_dat} nur {price} |geben > {person} can give {relative_dat} only {price} >
{person} |zeigt| {number} {people_dat} {place_acc} > {person} shows {number} {people_dat} {place_acc} > habit
{profession} |zeigt| {relative_dat} die Wohnung > {profession} shows {relative_dat} the apartment >
{relative} |hat| {profession_dat} {number} {things} |gezeigt > {relative} showed {profession_dat} {number} {things} > past
{person} |hat| {relative_dat} um {clock} {place_acc} |gezeigt > {person} showed {relative_dat} {place_acc} at {clock} > past
{profession} |will| {person} {large_acc} |zeigen > {profession} wants to show {person} {large_acc} >
{relative} |hilft| {profession_dat} am {weekday} > {relative} helps {profession_dat} on {weekday} >
{person} |hilft| {relative_dat} {at_place} > {person} helps {relative_dat} {at_place} > habit
{profession} |hat| {number} {people_dat} |geholfen > {profession} helped {number} {people_dat} > past place
{relative} |hat| {person} {duration} |geholfen > {relative} helped {person} for {duration} > past
{person} |muss| {relative_dat} bis {clock} |helfen > {person} has to help {relative_dat} until {clock} > habit
{profession} |kann| {person} vor {clock} nicht |helfen > {profession} cannot help {person} before {clock} > habit
# comparing and describing
{product} |ist| {comparative} als {product_2} > {product} is {comparative} than {product_2} > place
{product} |war| {comparative} als geplant > {product} was {comparative} than planned > past
{vehicle} |ist| {short_duration} schneller als {vehicle_2} > {vehicle} is {short_duration} faster than {vehicle_2} > place
{relative} |ist| {age} Jahre älter als {profession} > {relative} is {age} years older than {profession} >
{large} |war| {comparative} als {large_2} > {large} was {comparative} than {large_2} > past
{deep} |ist| nicht {comparative} als {deep_2} > {deep} is not {comparative} than {deep_2} > place
{heavy} |ist| viel {comparative} als {heavy_2} > {heavy} is much {comparative} than {heavy_2} > place
{long} |ist| viel {comparative} als {long_2} > {long} is much {comparative} than {long_2} > place
{vehicle} nach {territory} |ist| {comparative} als {vehicle_2} > {vehicle} to {territory} is {comparative} than {vehicle_2} >
{number} {things} |sind| {comparative} als {product} > {number} {things} are {comparative} than {product} > place
{large} |gehört| {relative_dat} > {large} belongs to {relative_dat} > place
{heavy} |gehört| seit {dative_duration} {profession_dat} > {heavy} has belonged to {profession_dat} for {dative_duration} >
{deep} |gehört| nicht mehr {profession_dat} > {deep} no longer belongs to {profession_dat} >
{product} |hat| {relative_dat} |gehört > {product} belonged to {relative_dat} > past
{heavy} und {heavy_2} |gehören| {relative_dat} > {heavy} and {heavy_2} belong to {relative_dat} >
{large} |wurde| für {price} |verkauft > {large} was sold for {price} > past place
{profession} |hat| {large_acc} {in_year} |gekauft > {profession} bought {large_acc} {in_year} >
{relative} |will| {large_acc} nicht |verkaufen > {relative} does not want to sell {large_acc} >
{product} |ist| {color} > {product} is {color} >
{product} |ist| nicht {color} > {product} is not {color} >
{number} {things} |sind| {color} > {number} {things} are {color} > place
die Wohnung |ist| {comparative} als das Haus > the apartment is {comparative} than the house > place
{relative} |möchte| {tall_acc} {color} |streichen > {relative} would like to paint {tall_acc} {color} >
{person} |hat| {product_acc} {color} |gestrichen > {person} painted {product_acc} {color} > past
{profession} |hat| in {dative_duration} {number} Bilder |gemalt > {profession} painted {number} pictures in {dative_duration} > past
{tall} |wurde| {ago} {color} |gestrichen > {tall} was painted {color} {ago} >
{relative} |malt| {small} Bilder pro Woche > {relative} paints {small} pictures per week > place
{relative} |hat| {number} Bilder von {territory} > {relative} has {number} pictures of {territory} >
{person} |will| die Küche {color} |streichen > {person} wants to paint the kitchen {color} >
# renting, giving, showing and helping again
{relative} |mietet| {large_acc} ab {month} > {relative} rents {large_acc} from {month} >
{profession} |mietet| die Wohnung für {duration} > {profession} rents the apartment for {duration} >
die Miete |ist| {ago} auf {price} |gestiegen > the rent rose to {price} {ago} > place
{person} |hat| heute {relative_acc} |gesucht > {person} looked for {relative_acc} today >
{number} {people} |haben| {product_acc} |gesucht > {number} {people} looked for {product_acc} > past
{profession} |sucht| {number} {things} > {profession} is looking for {number} {things} > place
{relative} |sucht| eine Wohnung für {price} > {relative} is looking for an apartment for {price} > place
{profession} |gibt| {number} {people_dat} {price} > {profession} gives {number} {people_dat} {price} > habit place
{person} |gibt| {profession_dat} die Zeitung > {person} gives {profession_dat} the newspaper > habit
{relative} |hat| {person} {price} |gegeben > {relative} gave {person} {price} > past
{relative} |hat| uns {number} {things} |gegeben > {relative} gave us {number} {things} > past
{profession} |muss| {relative_dat} {product_acc} |geben > {profession} has to give {relative_dat} {product_acc} >
{relative} |zeigt| {person} {number} Bilder > {relative} shows {person} {number} pictures > habit
{profession} |zeigt| uns {tall_acc} in {territory} > {profession} shows us {tall_acc} in {territory} >
{profession} |hat| uns {small} Zimmer |gezeigt > {profession} showed us {small} rooms > past
{person} |kann| {relative_dat} das Haus |zeigen > {person} can show {relative_dat} the house >
{relative} |soll| {number} {people_dat} {place_acc} |zeigen > {relative} should show {number} {people_dat} {place_acc} >
{profession} |hilft| {age} {people_dat} pro Tag > {profession} helps {age} {people_dat} per day > place
{relative} |hilft| uns bis {clock} > {relative} helps us until {clock} > habit
{person} |hat| {relative_dat} nie |geholfen > {person} never helped {relative_dat} >
{relative} |will| {profession_dat} heute |helfen > {relative} wants to help {profession_dat} today >
{relative} |hat| die Küche in {dative_duration} |gestrichen > {relative} painted the kitchen in {dative_duration} > past
die Wohnung |wurde| {in_year} |gestrichen > the apartment was painted {in_year} >
{person} |muss| {small} Zimmer |streichen > {person} has to paint {small} rooms >
{person} |hat| pro Monat {price} |gespart > {person} saved {price} per month > past
{relative} |hat| seit {dative_duration} nichts |gespart > {relative} has saved nothing for {dative_duration} >
{profession} |kann| im {month} nichts |sparen > {profession} can save nothing in {month} > place
{person} |malt| am Nachmittag {small} Bilder > {person} paints {small} pictures in the afternoon > habit
{relative} |hat| {tall_acc} |gemalt > {relative} painted {tall_acc} > past place
"""
