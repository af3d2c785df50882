#!/usr/bin/env bash
# Package:  datasets 5.2.0 with pyarrow 26.0.1
#
# Expected: load_dataset("json") keeps strings: JSON has no type for dates, and what is in quotation marks is text.
# Happens:  a column whose strings are all ISO dates, in the first block of the file, becomes timestamps. "2020-05-04T02:00:00Z"
#           and "2020-05-04 02:00" come back as one and the same datetime, a date gets an hour, the zone is gone. One
#           line of other text makes the column text again, if it is in the first block; where it comes
#           later (blocks have 10 MiB), the whole file is refused: DatasetGenerationError.
#           features=Features({...: Value("string")}) does not help: the dates are written out again, in another form,
#           and those of later blocks are not, so that one text has two spellings in one column.
# Meaning:  dates are sentences where a system normalises or translates dates, and where a filter or sample has left nothing
#           else: labels change type with the choice of the lines, references no longer equal outputs, and a corpus of which
#           a sample was read well fails as a whole, or the other way round. Read the lines with json.loads, and make
#           the rows with Dataset.from_list or from_generator, which keep them.
#
# Output seen:
#   two dates                  timestamp[s] [datetime.datetime(2020, 5, 3, 0, 0), datetime.datetime(2020, 5, 4, 2, 0)]
#   two dates and a word       string ['2020-05-03', '2020-05-04T02:00:00Z', 'tomorrow']
#   11 MiB of dates, a word    DatasetGenerationError
#   two dates, with features   string ['2020-05-03 00:00:00', '2020-05-04 02:00:00']
#   11 MiB, with features      string ['2020-05-03 00:00:00', ..., 'tomorrow', '2020-05-03']
#   two dates, from_list       string ['2020-05-03', '2020-05-04T02:00:00Z']
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-compile datasets==5.2.0 pyarrow==26.0.1
export HF_HUB_OFFLINE=1 HF_HOME=$folder/home

cat > dates.py <<'PYTHON'
import json

import datasets

datasets.disable_progress_bars()
texts = datasets.Features({"de": datasets.Value("string"), "iso": datasets.Value("string")})
two = [{"de": "3. Mai 2020", "iso": "2020-05-03"}, {"de": "4. Mai, 2 Uhr", "iso": "2020-05-04T02:00:00Z"}]
word = {"de": "morgen", "iso": "tomorrow"}
many = [{"de": "am dritten Mai zweitausendzwanzig " * 3, "iso": "2020-05-03"}] * 85_000


def read(name, rows, features=None):
    with open(f"{name}.jsonl", "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    try:
        found = datasets.load_dataset("json", data_files=f"{name}.jsonl", split="train", features=features)
        column = list(found["iso"])
        shown = f"[{column[0]!r}, ..., {column[-2]!r}, {column[-1]!r}]" if len(column) > 3 else column
        seen = f"{found.features['iso'].dtype} {shown}"
    except datasets.exceptions.DatasetGenerationError as error:
        seen = type(error).__name__
    print(f"{name:<26} {seen}")
    return seen


assert read("two dates", two).startswith("timestamp[s]"), "dates are text now"
assert read("two dates and a word", [*two, word]).startswith("string")
assert read("11 MiB of dates, a word", [*many, word]) == "DatasetGenerationError", "later blocks are read otherwise now"
assert read("two dates, with features", two, texts) == "string ['2020-05-03 00:00:00', '2020-05-04 02:00:00']", "texts stay"
later = read("11 MiB, with features", [*many, word, two[0]], texts)
assert later == "string ['2020-05-03 00:00:00', ..., 'tomorrow', '2020-05-03']", "both blocks are read alike now"
kept = datasets.Dataset.from_list(two)
print(f"{'two dates, from_list':<26} {kept.features['iso'].dtype} {list(kept['iso'])}")
assert list(kept["iso"]) == [row["iso"] for row in two]
PYTHON
venv/bin/python dates.py 2> log || { tail -20 log; exit 1; }
