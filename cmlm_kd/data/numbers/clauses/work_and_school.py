"""Clauses about work and school: working, earning, learning, teaching, reading and writing."""
# ruff: noqa: E501 - one clause per line

WORK_AND_SCHOOL = """
# working
{relative} |arbeitet| seit {dative_duration} {at_place} > {relative} has worked {at_place} for {dative_duration} >
{person} |arbeitet| nur am {weekday} > {person} only works on {weekday} >
{profession} |arbeitet| {duration} länger als {person} > {profession} works {duration} longer than {person} > habit
{relative} |arbeitet| nicht mehr {at_place} > {relative} no longer works {at_place} >
{person} |hat| bis {clock} |gearbeitet > {person} worked until {clock} > past
{relative} |hat| {duration} in {territory} |gearbeitet > {relative} worked in {territory} for {duration} > past
{profession} |hat| nie {at_place} |gearbeitet > {profession} never worked {at_place} >
{number} {people} |haben| {at_place} |gearbeitet > {number} {people} worked {at_place} > past
{person} |muss| am {weekday} bis {clock} |arbeiten > {person} has to work until {clock} on {weekday} >
{profession} |will| nur {small} Stunden pro Tag |arbeiten > {profession} wants to work only {small} hours per day >
{relative} |wird| ab {month} {at_place} |arbeiten > {relative} will work {at_place} from {month} >
{person} |möchte| in {territory} |arbeiten > {person} would like to work in {territory} >
{profession} |konnte| {duration} nicht |arbeiten > {profession} could not work for {duration} > past
{number} {people} |arbeiten| {at_place} > {number} {people} work {at_place} > habit
{percent} der Frauen |arbeiten| {at_place} > {percent} of the women work {at_place} > place
{number} {people} |arbeiten| von {clock} bis {clock_2} > {number} {people} work from {clock} to {clock_2} > habit
{relative} |ist| seit {dative_duration} ohne Arbeit > {relative} has been out of work for {dative_duration} >
{person} |sucht| seit {dative_duration} Arbeit > {person} has looked for work for {dative_duration} >
{profession} |sucht| Arbeit in {territory} > {profession} is looking for work in {territory} >
{person} |hat| {in_year} Arbeit |gefunden > {person} found work {in_year} >
{relative} |hat| nach {dative_duration} Arbeit |gefunden > {relative} found work after {dative_duration} > place
{profession} |hat| {at_place} Arbeit |gefunden > {profession} found work {at_place} > past
# earning and the boss
{relative} |verdient| {price} mehr als {person} > {relative} earns {price} more than {person} > place
{person} |verdient| weniger als {profession} > {person} earns less than {profession} > place
{number} {people} |verdienen| weniger als {price} pro Monat > {number} {people} earn less than {price} per month > place
{percent} der Männer |verdienen| mehr als {price} pro Woche > {percent} of the men earn more than {price} per week > place
{person} |hat| {at_place} {price} |verdient > {person} earned {price} {at_place} > past
{profession} |hat| mit {event_dat} {price} |verdient > {profession} earned {price} with {event_dat} > past
{relative} |will| {price} pro Stunde |verdienen > {relative} wants to earn {price} per hour >
{person} |kann| {at_place} {price} pro Tag |verdienen > {person} can earn {price} per day {at_place} >
{profession} |soll| {percent} weniger |verdienen > {profession} should earn {percent} less >
die Firma |hat| {number} Arbeiter > the company has {number} workers > place
die Firma |sucht| {small} {people} > the company is looking for {small} {people} > place
die Firma |wurde| {in_year} |verkauft > the company was sold {in_year} >
die Firma |wurde| {ago} in {territory} |gegründet > the company was founded in {territory} {ago} >
{person} |hat| {in_year} die Firma |gegründet > {person} founded the company {in_year} >
die Firma |hat| {millions} Kunden > the company has {millions} customers > place
die Firma |verkauft| {number} {things} pro Woche > the company sells {number} {things} per week >
{profession} |hat| die Firma für {price} |gekauft > {profession} bought the company for {price} > past
{profession} |hat| {age} Kunden in {territory} > {profession} has {age} customers in {territory} >
{person} |muss| {small} Kunden |anrufen > {person} has to call {small} customers > habit
{relative} |hat| um {clock} einen Termin mit {profession_dat} > {relative} has an appointment with {profession_dat} at {clock} > habit
{person} |hat| {on_date} einen Termin > {person} has an appointment {on_date} >
{profession} |hat| vor {clock} keinen Termin mehr > {profession} has no more appointments before {clock} > habit
{relative} |hat| nach {event_dat} noch einen Termin > {relative} still has an appointment after {event_dat} > habit
der Termin mit {profession_dat} |dauert| {short_duration} > the appointment with {profession_dat} lasts {short_duration} > habit
der Termin mit {relative_dat} |ist| um {clock} > the appointment with {relative_dat} is at {clock} >
der Termin |wurde| auf {weekday} |verschoben > the appointment was postponed to {weekday} >
{event} |wurde| auf {weekday} |verschoben > {event} was postponed to {weekday} >
{event} |wurde| um {duration} |verschoben > {event} was postponed by {duration} > past
{person} |muss| {event_acc} auf {weekday} |verschieben > {person} has to postpone {event_acc} to {weekday} >
{profession} |möchte| den Termin um {duration} |verschieben > {profession} would like to postpone the appointment by {duration} >
{relative} |will| {event_acc} nicht |verschieben > {relative} does not want to postpone {event_acc} >
{person} |kann| den Termin nicht |verschieben > {person} cannot postpone the appointment >
# learning and teaching
{person} |lernt| {subject} mit {relative_dat} > {person} learns {subject} with {relative_dat} > habit
{relative} |lernt| besser als {person} > {relative} learns better than {person} > place
{person} |hat| {language} in {territory} |gelernt > {person} learned {language} in {territory} > past
{relative} |hat| {duration} {subject} |gelernt > {relative} learned {subject} for {duration} > past
{profession} |hat| nie {language} |gelernt > {profession} never learned {language} >
{person} |muss| bis {weekday} {subject} |lernen > {person} has to learn {subject} until {weekday} >
{relative} |will| {language} und {language_2} |lernen > {relative} wants to learn {language} and {language_2} >
{profession} |möchte| in {dative_duration} {language} |lernen > {profession} would like to learn {language} in {dative_duration} >
{person} |kann| nach {clock} nicht mehr |lernen > {person} can no longer learn after {clock} > habit
{number} {people} |lernen| {subject} > {number} {people} learn {subject} > habit place
{profession} |unterrichtet| seit {dative_duration} {subject} > {profession} has taught {subject} for {dative_duration} >
{relative} |unterrichtet| {subject} und {subject_2} > {relative} teaches {subject} and {subject_2} > place
{person} |unterrichtet| am {weekday} {language} > {person} teaches {language} on {weekday} >
{profession} |unterrichtet| {small} Schüler > {profession} teaches {small} pupils > habit place
{profession} |hat| {age} {people} |unterrichtet > {profession} taught {age} {people} > past place
{person} |hat| {subject} in {territory} |unterrichtet > {person} taught {subject} in {territory} > past
{subject} |wird| von {relative_dat} |unterrichtet > {subject} is taught by {relative_dat} >
{subject} |wird| von {clock} bis {clock_2} |unterrichtet > {subject} is taught from {clock} to {clock_2} > habit
{relative} |studiert| seit {dative_duration} {subject} > {relative} has studied {subject} for {dative_duration} >
{person} |studiert| {subject} in {territory} > {person} studies {subject} in {territory} >
{relative} |will| ab {month} {subject} |studieren > {relative} wants to study {subject} from {month} >
{person} |möchte| {subject} und {language} |studieren > {person} would like to study {subject} and {language} >
{profession} |hat| {in_year} {subject} |studiert > {profession} studied {subject} {in_year} >
{person} |hat| {duration} in {territory} |studiert > {person} studied in {territory} for {duration} > past
{percent} der Studenten |studieren| {subject} > {percent} of the students study {subject} > place
# reading and writing
{relative} |liest| jeden {weekday} die Zeitung > {relative} reads the newspaper every {weekday} >
{person} |liest| am Abend {small} Seiten > {person} reads {small} pages in the evening > habit
{profession} |liest| schneller als {relative} > {profession} reads faster than {relative} >
{relative} |hat| das Buch in {dative_duration} |gelesen > {relative} read the book in {dative_duration} >
{person} |hat| nur {age} Seiten |gelesen > {person} read only {age} pages > past
{profession} |hat| {number} Bücher auf {language} |gelesen > {profession} read {number} books in {language} > past
{number} {people} |haben| das Buch |gelesen > {number} {people} read the book > past place
{person} |muss| bis {weekday} {number} Seiten |lesen > {person} has to read {number} pages by {weekday} >
{relative} |kann| {language} |lesen > {relative} can read {language} >
{person} |will| nach {event_dat} die Zeitung |lesen > {person} wants to read the newspaper after {event_dat} >
{percent} der Menschen |lesen| die Zeitung > {percent} of the people read the newspaper > place
das Buch |wurde| von {millions} Menschen |gelesen > the book was read by {millions} people > place
{person} |schreibt| {relative_dat} jeden {weekday} > {person} writes to {relative_dat} every {weekday} >
{profession} |schreibt| {small} Briefe pro Woche > {profession} writes {small} letters per week > place
{relative} |schreibt| schneller als {person} > {relative} writes faster than {person} >
{profession} |hat| {relative_dat} {ago} |geschrieben > {profession} wrote to {relative_dat} {ago} >
{relative} |hat| {number} Seiten |geschrieben > {relative} wrote {number} pages > past
{person} |hat| das Buch auf {language} |geschrieben > {person} wrote the book in {language} > past place
das Buch |wurde| {in_year} |geschrieben > the book was written {in_year} >
der Brief |wurde| auf {language} |geschrieben > the letter was written in {language} > past
{person} |muss| {profession_dat} bis {weekday} |schreiben > {person} has to write to {profession_dat} by {weekday} >
{profession} |will| das Buch in {dative_duration} |schreiben > {profession} wants to write the book in {dative_duration} >
{relative} |kann| auf {language} |schreiben > {relative} can write in {language} >
# no appointments, letters and languages
{relative} |hat| bis {weekday} keinen Termin > {relative} has no appointment until {weekday} >
{person} |hat| am Nachmittag einen Termin {at_place} > {person} has an appointment {at_place} in the afternoon > habit
{small} Briefe |wurden| auf {language} |geschrieben > {small} letters were written in {language} > past
{profession} |spricht| besser {language} als {person} > {profession} speaks {language} better than {person} >
{person} |spricht| nur {language} > {person} speaks only {language} > place
{profession} |schrieb| {relative_dat} {small} Briefe > {profession} wrote {small} letters to {relative_dat} > past
{person} |schrieb| schneller als {person_2} > {person} wrote faster than {person_2} > past
"""
