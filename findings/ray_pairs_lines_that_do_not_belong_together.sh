#!/usr/bin/env bash
# Package:  ray 2.60.0 (Ray Data) with pyarrow 26.0.1 and pandas 3.1.1
#
# Expected: ray.data.read_text gives a row for each line of a file, so that zip() of the two sides of a parallel corpus, or
#           of a corpus and its translations, gives its pairs, and an error where the numbers of lines differ.
# Happens:  empty lines are left out, since drop_empty_lines=True is the default, and zip compares what is left: where both
#           sides have as many empty lines, though in other places, every pair between two of them is of sentences that do
#           not belong together, and nothing is said. Where one side has more, there is an error after the reading.
# Meaning:  crawled corpora, documents and outputs of translation systems have empty lines; a teacher's labels or a
#           student's training data are then shifted. Give drop_empty_lines=False, or read one file with both sides.
#
# Output seen (5 lines a side, one of them empty: the second, and the fourth):
#   as it is:                ein Haus = a house | eine Katze = a dog | ein Vogel = a cat | eine Maus = a mouse
#   drop_empty_lines=False:  ein Haus = a house |  = a dog | eine Katze = a cat | ein Vogel =  | eine Maus = a mouse
#   one empty line more:     ValueError: Cannot zip datasets of different number of rows: 4, 3
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-compile 'ray[data]==2.60.0' pyarrow==26.0.1 pandas==3.1.1

cat > pairs.py <<'PYTHON'
import logging

import ray
import ray.data

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
ray.data.DataContext.get_current().enable_progress_bars = False
logging.getLogger("ray.data").setLevel(logging.ERROR)


def pairs(**options):
    german, english = ray.data.read_text("corpus.de", **options), ray.data.read_text("corpus.en", **options)
    found = german.zip(english).take_all()
    return " | ".join(f"{row['text']} = {row['text_1']}" for row in found)


as_it_is, kept = pairs(), pairs(drop_empty_lines=False)
print(f"as it is:                {as_it_is}")
print(f"drop_empty_lines=False:  {kept}")
with open("corpus.en", "w") as file:
    file.write("a house\n\na cat\n\na mouse\n")
try:
    pairs()
    last = "no error"
except ValueError as error:
    last = "ValueError: " + str(error).splitlines()[0]
print(f"one empty line more:     {last}")
assert "eine Katze = a dog" in as_it_is and as_it_is.count("|") == 3, "empty lines are rows now"
assert "eine Katze = a cat" in kept and kept.count("|") == 4
assert last.startswith("ValueError")
PYTHON
printf '%s\n' 'ein Haus' '' 'eine Katze' 'ein Vogel' 'eine Maus' > corpus.de
printf '%s\n' 'a house' 'a dog' 'a cat' '' 'a mouse' > corpus.en
# A busy machine starts Ray slowly.
RAY_USAGE_STATS_ENABLED=0 RAY_raylet_start_wait_time_s=120 venv/bin/python -W ignore pairs.py 2> log || { tail -20 log; exit 1; }
