#!/usr/bin/env bash
# Package:  sacrebleu 2.6.0 (--paired-bs and --paired-ar)
#
# Expected: two systems with the very same score do not differ: a test of their difference gives a p-value near 1.
#           And one corrected line in a hundred is no evidence: in approximate randomization every shuffle gives the
#           difference that was observed, so p is 1; with three corrected lines p is 2 / 2^3 = 0.25.
# Happens:  all these get the smallest p-value that there is, 1 / (samples + 1), which is what a system gets that is
#           27 BLEU better. The tests count the samples whose difference is strictly above the observed one, so that
#           equal ones, all of them here, count as evidence. A copy of the baseline is enough when one line differs in
#           something that the metric does not see: a doubled space, or case when the metric lowercases.
# Meaning:  outputs of a student and its teacher, or of two checkpoints, often differ in few lines. Approximate
#           randomization then stars any difference at all; both tests star a difference of zero. Look at the number
#           of lines that differ before you look at p.
#
# Output seen (BLEU; 100 sentences, 300 samples; --paired-bs, then --paired-ar; p can never be below 0.0033):
#   baseline                    BLEU 47.26
#   copy, one space doubled     BLEU 47.26   bs p = 0.0033   ar p = 0.0033
#   copy in other case, -lc     BLEU 47.26   bs p = 0.0033   ar p = 0.0033
#   one line corrected          BLEU 47.96   bs p = 0.2027   ar p = 0.0033
#   three lines corrected       BLEU 48.08   bs p = 0.0797   ar p = 0.0033
#   fifty lines corrected       BLEU 74.67   bs p = 0.0033   ar p = 0.0033
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check sacrebleu==2.6.0

cat > ties.py <<'PYTHON'
import logging
import random

from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

logging.disable(logging.INFO)
random.seed(0)
WORDS = "the a cat dog house tree runs sits on under near big small red blue old man woman child sees".split()
SAMPLES = 300
SMALLEST = 1 / (SAMPLES + 1)

references = [" ".join(random.choice(WORDS) for _ in range(12)) for _ in range(100)]
baseline = [
    " ".join(random.choice(WORDS) if random.random() < 0.3 else word for word in line.split()) for line in references
]


def compare(name, system, **options):
    """Prints the score of the system and both p-values, and returns (baseline score, score, p of bs, p of ar)."""
    p_values = []
    for test in ("bs", "ar"):
        metric = BLEU(references=[references], **options)
        paired = PairedTest(
            [("baseline", baseline), (name, system)], {"BLEU": metric}, None, test_type=test, n_samples=SAMPLES
        )
        before, after = paired()[1]["BLEU"]
        p_values.append(after.p_value)
    print(f"{name:<27} BLEU {after.score:.2f}   bs p = {p_values[0]:.4f}   ar p = {p_values[1]:.4f}")
    return before.score, after.score, *p_values


print(f"{'baseline':<27} BLEU {BLEU().corpus_score(baseline, [references]).score:.2f}")
spaced = list(baseline)
spaced[5] = spaced[5].replace(" ", "  ", 1)
for same in (
    compare("copy, one space doubled", spaced),
    compare("copy in other case, -lc", [line.upper() for line in baseline], lowercase=True),
):
    assert same[0] == same[1] and same[2:] == (SMALLEST, SMALLEST), same

one = list(baseline)
one[5] = references[5]
for name, system in (("one line corrected", one), ("three lines corrected", references[:3] + baseline[3:])):
    assert sum(left != right for left, right in zip(system, baseline)) <= 3
    before, after, p_bootstrap, p_randomization = compare(name, system)
    assert after > before and p_bootstrap > 0.05 and p_randomization == SMALLEST
much = compare("fifty lines corrected", references[:50] + baseline[50:])
assert much[2:] == (SMALLEST, SMALLEST), much
PYTHON
venv/bin/python ties.py
