#!/usr/bin/env bash
# The text of the table in this folder's README, from public corpora: train.txt and valid.txt, a sentence or paragraph a line.
#   bash examples/pretraining/text.sh --data corpora --output text
# Options:
#   --data DIR      has tatoeba-deu-eng/deu-eng.zip (manythings.org), multi30k, agnews, sick, and in glue CoLA, SST-2, MRPC,
#                   RTE and STS-B, as published
#   --output DIR    gets both files
# Every line is there once, none of the validation text is in the training text, and no line is from a test set, nor from
# a development set of what students are fine-tuned on.
set -euo pipefail
data= output=
while [ $# -gt 1 ]; do
    case "$1" in --data) data=$2 ;; --output) output=$2 ;; *) break ;; esac
    shift 2
done
[ $# = 0 ] && [ -n "$data" ] && [ -n "$output" ] || { sed -n '3s/^#//p' "$0" >&2 && exit 2; }
export LC_ALL=C # one order of lines everywhere
mkdir -p "$output"

shuffled() { shuf --random-source=<(yes "$1" || true); } # always the same way
column() { tail -n +"$1" "$2" | cut -f"$3" | tr '\t' '\n'; } # FIRST_ROW FILE COLUMNS

python3 -m zipfile -e "$data/tatoeba-deu-eng/deu-eng.zip" "$output/zip"
cut -f1 "$output/zip/deu.txt" | sort -u | shuffled a >"$output/tatoeba"
cut -f1 "$data/agnews/dev.tsv" | sort -u | shuffled b >"$output/news"
{
    zcat "$data/multi30k/val.en.gz"
    head -n 500 "$output/news"
    head -n 1000 "$output/tatoeba"
} >"$output/valid.txt"
{
    cat "$output/tatoeba" "$output/news"
    zcat "$data/multi30k/train.en.gz"
    column 2 "$data/glue/SST-2/train.tsv" 1
    column 1 "$data/glue/CoLA/train.tsv" 4
    column 2 "$data/glue/MRPC/train.tsv" 4,5
    column 2 "$data/glue/RTE/train.tsv" 2,3
    column 2 "$data/glue/STS-B/train.tsv" 8,9
    column 2 "$data/sick/SICK_train.txt" 2,3
} | sort -u | grep -vxFf "$output/valid.txt" | shuffled c >"$output/train.txt"
rm -r "$output/zip" "$output/tatoeba" "$output/news"
wc -lc "$output/train.txt" "$output/valid.txt"
