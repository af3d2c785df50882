#!/usr/bin/env bash
# The main job, from raw text to a scored student: sets everything up and runs numbers.yaml, or with --data multi30k
# multi30k.yaml. The other options are the recipe's settings, such as --student lstm; --output DIR, --dry-run.
. "$(dirname "${BASH_SOURCE[0]}")/../recipe.sh"
data=numbers rest=()
while [ $# -gt 0 ]; do
    if [ "$1" = --data ]; then data=${2:-} && shift $(($# > 1 ? 2 : 1)); else rest+=("$1") && shift; fi
done
case "$data" in numbers | multi30k) ;; *) die "--data is '$data'; it must be numbers or multi30k" ;; esac
recipe "translation/$data.yaml" "${rest[@]}"
