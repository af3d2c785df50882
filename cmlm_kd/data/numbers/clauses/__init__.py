"""The clauses that sentences are built around, in both languages, and English ones for monolingual text.

A German clause is written ``subject |verb| middle |close``: the parts move in questions, after a fronted
adverbial and in subordinate clauses. A ``close`` ending in ``-`` is a separable particle and joins the verb
at the end of a subordinate clause (``fährt ... ab``, ``abfährt``). The last column names the adverbials that
make sense: ``habit`` (every Monday, usually), ``past`` (three days ago), ``place`` (in France). The English
clause is the clause's id.

Clauses share verbs, nouns and constructions: what is held out is an unseen sentence of known words.
"""

from cmlm_kd.data.numbers.clauses.english_only import ENGLISH_ONLY
from cmlm_kd.data.numbers.clauses.household import HOUSEHOLD
from cmlm_kd.data.numbers.clauses.money_and_post import MONEY_AND_POST
from cmlm_kd.data.numbers.clauses.travel_and_leisure import TRAVEL_AND_LEISURE
from cmlm_kd.data.numbers.clauses.values_and_times import VALUES_AND_TIMES
from cmlm_kd.data.numbers.clauses.work_and_school import WORK_AND_SCHOOL

__all__ = ["ENGLISH_ONLY", "PARALLEL"]

PARALLEL = "".join((VALUES_AND_TIMES, HOUSEHOLD, WORK_AND_SCHOOL, TRAVEL_AND_LEISURE, MONEY_AND_POST))
