#!/usr/bin/env bash
# The grid of the PKD paper: temperature, alpha and learning rate with beta 0, then beta with the best of these.
# Chooses settings, and the checkpoint of every run, on 10 % of the training set; the dev set is for the last line alone.
#
#   bash examples/classification/pkd_grid.sh DATA CORPUS TEACHER ENCODER LAYERS [FLAGS OF FAIRSEQ-TRAIN...]
#
# METRIC (accuracy), TEMPERATURES, ALPHAS, RATES, BETAS, STATES and OUTPUT (pkd-grid) may be set in the environment.
set -euo pipefail
data=$1 corpus=$2 teacher=$3 encoder=$4 layers=$5
shift 5
metric=${METRIC:-accuracy}
output=${OUTPUT:-pkd-grid}
plugin=$(cmlm-kd user-dir)
mkdir -p "$output"

run() { # name of the run, then its flags; prints nothing, logs to OUTPUT/name.log
    local name=$1
    shift
    fairseq-train "$data" --user-dir "$plugin" --task classification_kd --corpus "$corpus" --teacher "$teacher" \
        --arch bert_classifier --bert "$encoder" --layers "$layers" --criterion pkd --optimizer bert_adamw \
        --batch-size 32 --max-epoch 4 --best-checkpoint-metric "$metric" --maximize-best-checkpoint-metric \
        --no-epoch-checkpoints --no-last-checkpoints --save-dir "$output/$name" --no-progress-bar "$@" \
        > "$output/$name.log" 2>&1
}

best() { # the run of a family with the best validation
    cmlm-kd choose --metric "$metric" "$output/$1"_*.log 2> /dev/null | sed "s/^$1_//"
}

choosing=(--hold-out 0.1 --hold-out-seed 1)
for temperature in ${TEMPERATURES:-5 10 20}; do
    for alpha in ${ALPHAS:-0.2 0.5 0.7}; do
        for rate in ${RATES:-5e-5 2e-5 1e-5}; do
            run "plain_${temperature}_${alpha}_${rate}" --kd-temperature "$temperature" --kd-alpha "$alpha" \
                --lr "$rate" --kd-beta 0 --teacher-cache "$output/logits" "${choosing[@]}" "$@"
        done
    done
done
IFS=_ read -r temperature alpha rate <<< "$(best plain)"
settings=(--kd-temperature "$temperature" --kd-alpha "$alpha" --lr "$rate")
for beta in ${BETAS:-10 100 500 1000}; do
    for states in ${STATES:-normalized unnormalized}; do
        flags=()
        [ "$states" = unnormalized ] && flags=(--kd-unnormalized)
        run "patient_${beta}_${states}" "${settings[@]}" --kd-beta "$beta" "${flags[@]}" \
            --teacher-cache "$output/states" "${choosing[@]}" "$@"
    done
done
chosen=$(best patient)
IFS=_ read -r beta states <<< "$chosen"
settings+=(--kd-beta "$beta")
[ "$states" = unnormalized ] && settings+=(--kd-unnormalized)
echo "best: ${settings[*]}"
cmlm-kd evaluate "$data" --corpus "$corpus" --model teacher="$teacher" student="$output/patient_$chosen/checkpoint_best.pt"
