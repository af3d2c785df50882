"""Pages of made-up results, whose names and texts try to be more than text."""

import json
import re
from html.parser import HTMLParser

import numpy as np

from cmlm_kd.evaluation.differences import difference_of_means
from cmlm_kd.evaluation.generation import DecodingSpeed
from cmlm_kd.evaluation.page.beliefs import Beliefs, Entry, Sentence, Token
from cmlm_kd.evaluation.page.run_page import run_page
from cmlm_kd.evaluation.report import Report, RunFacts, Student, StudentRow
from cmlm_kd.evaluation.scores import Evaluation, RunsTest, Score
from cmlm_kd.evaluation.training_log import ValidationPoint

HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\"'&amp;</title>"
NAMES = ("alone", "taught", HOSTILE)
REFERENCE = [f"a dog number {n} runs over the green meadow" for n in range(24)]
SPEED = DecodingSpeed(24, 240, 81.25, 812.5)


def lines_of(name, seed):
    """Return what a run makes of the test set; the baseline and its first run err most."""
    if name == HOSTILE:
        return [f"{line} {HOSTILE}" for line in REFERENCE]
    wrong = {"alone": 2, "taught": 4}[name] * seed
    return [
        line.replace("dog", f"cat of {name}") if n % wrong == 0 else line for n, line in enumerate(REFERENCE)
    ]


def row_of(name, value, against=None):
    """Return a row of two runs, tested against the values of the baseline's."""
    values = [value - 0.5, value + 0.5]
    runs = {f"{name}@{seed}": values[seed - 1] for seed in (1, 2)}
    difference = None
    if against is not None:
        resampled = [[v - 0.1, v, v + 0.1] for v in values], [[v, v + 0.1, v - 0.1] for v in against]
        difference = difference_of_means(values, against, *map(np.array, resampled), 24)
    score = Score(value, None if difference is None else difference.p_value, runs=runs, difference=difference)
    signature = None if name == "alone" else f"kd:soft_target|teacher:{name}"
    facts = [RunFacts(run, SPEED, 1_234_567, 900, signature) for run in runs]
    return StudentRow(name, score, score, SPEED, 1_234_567, 900, signature, facts)


def single_report(names=("alone", "taught")):
    """Return the table of one run each."""
    rows = [
        StudentRow(name, score, score, SPEED, 1_234_567, 900, None)
        for name, score in zip(names, (Score(30.0, None, 2.0), Score(31.5, 0.2, 2.5)), strict=False)
    ]
    return Report(rows, names[0], len(REFERENCE), {"BLEU": "nrefs:1"})


def runs_report(names=NAMES):
    """Return the table of two runs of each name."""
    rows = [row_of(names[0], 30.0)]
    rows += [row_of(name, 40.0, [29.5, 30.5]) for name in names[1:]]
    systems = {row.name: {"BLEU": row.bleu, "chrF2": row.chrf} for row in rows}
    test = RunsTest(24, False, 3, 1)
    signatures = {"BLEU": "nrefs:1", "chrF2": "nrefs:1"}
    evaluation = Evaluation(systems, signatures, names[0], len(REFERENCE), runs_test=test)
    return Report(rows, names[0], len(REFERENCE), signatures, evaluation)


def beliefs_of(speakers, notes=()):
    """Return what a teacher and as many students as named believe of three sentences."""
    shares = [0.7 - 0.1 * place for place in range(len(speakers) + 1)]

    def token(symbol, other):
        entries = [Entry(symbol, True, shares), Entry(other, False, [None, *shares[1:]])]
        return Token(symbol, entries, [0.05] * len(shares))

    sentences = [
        Sentence(number, f"Quelle {number} {HOSTILE}", f"target {number}", tokens)
        for number, tokens in (
            (1, [token("▁one", HOSTILE), token("▁two", "▁three"), token("</s>", "▁and")]),
            (8, [token("▁eight", "▁ate"), token("</s>", "▁and")]),
            (15, [token(HOSTILE, "▁fifteen")]),
        )
    ]
    return Beliefs("C-MLM", "train", 1.0, speakers, sentences, notes)


def write_run_page(folder, names=NAMES, notes=()):
    """Write a page with all that there is to show; returns its path."""
    runs = [f"{name}@{seed}" for name in names for seed in (1, 2)]
    students = []
    for number, run in enumerate(runs):
        name, seed = run.rsplit("@", 1)
        path = folder / f"{number}.txt"
        lines = lines_of(name, int(seed))
        printed = [f"S-{n}\tein Hund {n}\nD-{n}\t-0.1\t{line}\n" for n, line in enumerate(lines)]
        path.write_text("".join(printed), encoding="utf-8")
        students.append(Student(run, folder / "no.pt", path))
    curves = {
        run: [
            ValidationPoint(n * 100, n, {"nll_loss": 4 / n + k / 9, "bleu": 10.0 * n - k}) for n in (1, 2, 3)
        ]
        for k, run in enumerate(runs)
    }
    beliefs = beliefs_of([f"{name}@1" for name in names], notes)
    html = run_page(runs_report(names), students, curves, [REFERENCE], beliefs, 20)
    page = folder / "report.html"
    page.write_text(html, encoding="utf-8")
    return page


def data_of(html, name="data"):
    """Return the data of a page's script."""
    (found,) = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', html, re.DOTALL)
    return json.loads(found)


class Elements(HTMLParser):
    """All tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.inside = [], [], None
        self.feed(html)
        self.words = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.text.append(data)

    def all(self, tag, **attributes):
        return [own for name, own in self.tags if name == tag and attributes.items() <= own.items()]
