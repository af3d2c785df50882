#!/usr/bin/env bash
# Package:  sacrebleu 2.6.0 with numpy 2.4.6
#
# Expected: --paired-bs works for each metric that -m offers, in the default format (JSON), as --paired-ar does.
# Happens:  with chrF among the metrics, the bootstrap runs to its end, and then the results cannot be written:
#           "Object of type float32 is not JSON serializable". Nothing is printed, BLEU's results included, and the
#           exit status is 1. BLEU alone, the format text, and --paired-ar are fine.
# Meaning:  comparing systems by BLEU and chrF, as papers do, fails after all resampling was done; in a pipeline the
#           results file is empty. Ask for the text format, or use PairedTest and float() from Python.
#
# Output seen:
#   --paired-bs --paired-bs-n 100 -m bleu -f json   exit 0
#   --paired-bs --paired-bs-n 100 -m chrf -f json   exit 1, 0 bytes of results
#       TypeError: Object of type float32 is not JSON serializable
#   --paired-bs --paired-bs-n 100 -m bleu chrf -f json   exit 1, 0 bytes of results
#       TypeError: Object of type float32 is not JSON serializable
#   --paired-bs --paired-bs-n 100 -m bleu chrf -f text   exit 0
#   --paired-ar --paired-ar-n 100 -m bleu chrf -f json   exit 0
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check sacrebleu==2.6.0 numpy==2.4.6

for number in $(seq 20); do
    echo "the cat number $number sits under the old tree near the house" >> reference
    echo "the cat number $number sat under an old tree near the house" >> teacher
    echo "a cat number $number sits under the tree near a house" >> student
done

# Prints the options and the exit status, and compares it with the expected one, $1.
compare() {
    local expected=$1 status=0
    shift
    venv/bin/sacrebleu reference -i teacher student "$@" > results 2> errors || status=$?
    if [ "$status" = 0 ]; then
        echo "$*   exit 0"
        test -s results
    else
        echo "$*   exit $status, $(wc -c < results | tr -d ' ') bytes of results"
        echo "    $(tail -n 1 errors)"
        test ! -s results
        grep -q "^TypeError: Object of type float32 is not JSON serializable" errors
    fi
    [ "$status" = "$expected" ] || { echo "changed: expected exit $expected" >&2; exit 1; }
}

compare 0 --paired-bs --paired-bs-n 100 -m bleu -f json
compare 1 --paired-bs --paired-bs-n 100 -m chrf -f json
compare 1 --paired-bs --paired-bs-n 100 -m bleu chrf -f json
compare 0 --paired-bs --paired-bs-n 100 -m bleu chrf -f text
compare 0 --paired-ar --paired-ar-n 100 -m bleu chrf -f json
