#!/usr/bin/env bash
# Package:  torchmetrics 1.9.0 with torch 2.13.0, compared with sacrebleu 2.6.0
#
# Expected: CHRFScore of torchmetrics, which names sacreBLEU's chrF as its model, gives that number, as it does on ordinary
#           outputs; a sentence that has nothing in common with its reference counts 0 and lowers the score of the corpus.
# Happens:  of each sentence the reference with the best F-score is looked for, and one must be better than 0. Where none is,
#           the sentence has no reference: the n-grams that were to be found are not counted. A system that translates one
#           sentence of three and leaves out the others gets 100, and loses points for each that it tries in vain to a small
#           part only (its own n-grams are counted).
# Meaning:  students that end at once, outputs cut off, wrong scripts and empty lines of failed jobs are what a metric of the
#           corpus must see. Numbers agree until then. Take sacrebleu's, or count empty outputs beside it.
#
# Output seen (three sentences; chrF of torchmetrics, of sacrebleu):
#   all translated            100.00   100.00
#   one word differs           90.20    90.20
#   one empty                 100.00    57.14
#   two empty                 100.00    41.12
#   one of other letters       99.20    56.89
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-compile torch==2.13.0 torchmetrics==1.9.0 \
    sacrebleu==2.6.0 numpy==2.4.6

cat > chrf.py <<'PYTHON'
import sacrebleu
import torch
from torchmetrics.text import CHRFScore

torch.set_num_threads(1)
REFERENCES = ["the cat sat on the mat", "a dog barks", "it rains today in the north"]
first, second, third = REFERENCES
found = {}
for name, outputs in {
    "all translated": REFERENCES,
    "one word differs": [first, "a wolf barks", third],
    "one empty": [first, second, ""],
    "two empty": [first, "", ""],
    "one of other letters": [first, second, "zzz"],
}.items():
    own = 100 * float(CHRFScore(n_word_order=0)(outputs, [[line] for line in REFERENCES]))
    known = sacrebleu.corpus_chrf(outputs, [REFERENCES]).score
    found[name] = own, known
    print(f"{name:<24} {own:7.2f}   {known:6.2f}")
for name, (own, known) in found.items():
    same = name in ("all translated", "one word differs")
    assert abs(own - known) < 0.01 if same else own > 99 and known < 60, f"torchmetrics has changed: {name}"
PYTHON
venv/bin/python -W ignore chrf.py 2> log || { tail -20 log; exit 1; }
