#!/usr/bin/env bash
# The recipe of MT-DNN with knowledge distillation: train several multi-task models, keep the best, fine-tune each of
# them on each taught task, and let these ensembles teach one student of all tasks.
#
#   bash examples/classification/mtdnn.sh DATA CORPORA TAUGHT ENCODER [FLAGS OF FAIRSEQ-TRAIN...]
#   bash examples/classification/mtdnn.sh glue SST-2,MRPC,RTE,STS-B SST-2,RTE bert-base-uncased --max-length 128
#
# CORPORA are all tasks, TAUGHT those that get teachers; the others have hard labels alone. Everything is chosen on
# 10 % of each training set. May be set in the environment: RUNS (seed:dropout of the multi-task models), ENSEMBLE (how
# many of them become teachers), EPOCHS, OUTPUT, and MULTITASK (flags of the multi-task trainings alone, such as
# "--ranking QNLI").
set -euo pipefail
data=$1 corpora=$2 taught=${3//,/ } encoder=$4
shift 4
runs=${RUNS:-1:0.1 2:0.1 3:0.2 4:0.2 5:0.3 6:0.3}
ensemble=${ENSEMBLE:-3}
output=${OUTPUT:-mtdnn}
plugin=$(cmlm-kd user-dir)
mkdir -p "$output"

train() { # name of the run, data, then flags; logs to OUTPUT/name.log
    local name=$1 corpus=$2
    shift 2
    fairseq-train "$corpus" --user-dir "$plugin" --hold-out 0.1 --hold-out-seed 1 --optimizer bert_adamw \
        --batch-size 32 --max-epoch "${EPOCHS:-5}" --no-epoch-checkpoints --no-last-checkpoints --no-progress-bar \
        --save-dir "$output/$name" "$@" > "$output/$name.log" 2>&1
}

train_all_tasks() { # name of the run, criterion, then flags
    local name=$1 criterion=$2
    shift 2
    # shellcheck disable=SC2086 # MULTITASK is a list of flags
    train "$name" "$data" --task multitask_kd --corpora "$corpora" ${MULTITASK:-} --arch multitask_bert \
        --bert "$encoder" --criterion "$criterion" --best-checkpoint-metric score --maximize-best-checkpoint-metric "$@"
}

for run in $runs; do
    train_all_tasks "multitask-${run%:*}" sentence_classification --seed "${run%:*}" --dropout "${run#*:}" "$@"
done
kept=$(cmlm-kd choose "$output"/multitask-*.log --metric score --best "$ensemble")
echo "kept: $kept"

teachers=""
for task in $taught; do
    ensemble_of_task=""
    for model in $kept; do
        name="$model-$task"
        cmlm-kd export "$output/$model/checkpoint_best.pt" --task "$task" --output "$output/$name-start"
        train "$name" "$data/$task" --task classification_kd --corpus "$task" --arch bert_classifier \
            --bert "$output/$name-start" --keep-head --criterion sentence_classification "$@"
        cmlm-kd export "$output/$name/checkpoint_best.pt" --output "$output/$name-teacher"
        ensemble_of_task="$ensemble_of_task:$output/$name-teacher"
    done
    teachers="$teachers,$task=${ensemble_of_task#:}"
done

train_all_tasks student mtdnn_kd --teacher "${teachers#,}" --teacher-cache "$output/teacher-outputs" "$@"
for task in $taught; do
    members=${teachers#*",$task="}
    cmlm-kd evaluate "$data/$task" --corpus "$task" \
        --model ensemble="${members%%,*}" student="$output/student/checkpoint_best.pt"
done
