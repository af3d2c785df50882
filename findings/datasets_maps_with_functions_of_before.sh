#!/usr/bin/env bash
# Package:  datasets 5.2.0
#
# Expected: map() and from_generator() keep their results in a cache that knows what made them. As the documentation says, a
#           function that changes is run again; and a changed value that the function uses changes its fingerprint, too.
# Happens:  that holds for what stands in the script that was started. Of a function in a module that is imported, only the
#           name counts: edit the module, or a constant in it that the function reads, start the same script again,
#           and the answers of the former version come back, without a word and without a call. Of a generator the
#           file that it reads does not count: lines that were added to a corpus are not there.
# Meaning:  teachers' labels that map() writes are those of the first version of your package's code, for good, until
#           somebody clears the cache: a corrected temperature, prompt or tokenisation seems to make no difference.
#           load_from_cache_file=False (map), or a version number in fn_kwargs and gen_kwargs, makes them anew.
#
# Output seen (a script is run, a function or a file is edited, the script is run again):
#   function in the script itself        before [1, 2], after [10, 20]
#   function in an imported module       before [1, 2], after [1, 2]
#   constant that this function reads    before [1, 2], after [1, 2]
#   file that the generator reads        before ['a'], after ['a']
#   load_from_cache_file=False           before [1, 2], after [10, 20]
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-compile datasets==5.2.0
export HF_HUB_OFFLINE=1 HF_HOME=$folder/home PYTHONDONTWRITEBYTECODE=1

cat > script.py <<'PYTHON'
import sys

import datasets
from teacher import by_constant, in_module

datasets.disable_progress_bars()


def in_script(row):
    return {"y": row["x"] * 1}


def lines():
    with open("corpus.txt") as file:
        for line in file:
            yield {"text": line.strip()}


rows = datasets.load_dataset("csv", data_files="rows.csv", split="train")
kind = sys.argv[1]
if kind == "file":
    print(list(datasets.Dataset.from_generator(lines)["text"]))
else:
    function = {"script": in_script, "module": in_module, "constant": by_constant, "anew": in_module}[kind]
    print(list(rows.map(function, load_from_cache_file=kind != "anew")["y"]))
PYTHON
cat > teacher.py <<'PYTHON'
FACTOR = 1


def in_module(row):
    return {"y": row["x"] * 1}


def by_constant(row):
    return {"y": row["x"] * FACTOR}
PYTHON
printf 'x\n1\n2\n' > rows.csv
for kind in script module constant file anew; do
    rm -rf home
    cp script.py first.py
    cp teacher.py first.teacher
    echo a > corpus.txt
    before=$(venv/bin/python script.py $kind 2> log) || { tail log; exit 1; }
    sed -i 's/row\["x"\] \* 1/row["x"] * 10/; s/FACTOR = 1/FACTOR = 10/' script.py teacher.py
    echo b >> corpus.txt
    after=$(venv/bin/python script.py $kind 2> log) || { tail log; exit 1; }
    mv first.py script.py
    mv first.teacher teacher.py
    case $kind in
        script) name="function in the script itself" ;;
        module) name="function in an imported module" ;;
        constant) name="constant that this function reads" ;;
        file) name="file that the generator reads" ;;
        anew) name="load_from_cache_file=False" ;;
    esac
    printf '%-36s before %s, after %s\n' "$name" "$before" "$after"
done | tee output
diff output - <<'SEEN' || { echo "the behaviour has changed"; exit 1; }
function in the script itself        before [1, 2], after [10, 20]
function in an imported module       before [1, 2], after [1, 2]
constant that this function reads    before [1, 2], after [1, 2]
file that the generator reads        before ['a'], after ['a']
load_from_cache_file=False           before [1, 2], after [10, 20]
SEEN
