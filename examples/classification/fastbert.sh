#!/usr/bin/env bash
# FastBERT from a pre-trained encoder to a table of what its early exits are worth:
#   bash examples/classification/fastbert.sh --corpus SST-2,agnews --data glue --bert bert-base-uncased
# Options:
#   --corpus NAME[,NAME...]  of GLUE or SICK with classes, as in docs/classification.md; any other name is a folder of
#                            lines of text<TAB>label, where dev.tsv is trained on if there is no train.tsv
#   --data DIR               has a folder for each corpus, or is the folder of the one corpus
#   --bert DIR_OR_HUB_NAME   the encoder
#   --target-speedup X       the calibrated threshold is the most accurate one that is so much faster, 3
#   --seed N                 of all trainings, 1
#   --output DIR             runs/fastbert; trainings that are there already are not repeated
#   --updates N              of every training; default: by corpus. 2 tries the road
# A tenth of the training set is held out: learning rates, checkpoints and the threshold are chosen there. The dev set
# (the test set, where the dev set is trained on, and of SICK) is only for the table.
# A step whose output is there is skipped; an interrupted training goes on from its last checkpoint.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"
cd "$repository"
here=examples/classification

corpus= data= bert= target_speedup=3 seed=1 output= updates=
parse_options "--corpus --data --bert --target-speedup --seed --output --updates" "$@"
required corpus data bert
[ -z "$updates" ] || whole_number updates above 1
whole_number seed
IFS=, read -ra corpora <<<"$corpus"
absolute data bert
set_up "runs/fastbert${updates:+-$updates}"

. "$here/corpora.sh"
form_of() { # folders that are no published corpus hold plain text
    case "$1" in
        CoLA | SST-2 | MRPC | QQP | MNLI | QNLI | RTE | WNLI | SICK-E) printf '%s' "$1" ;;
        *) printf text ;;
    esac
}
trains_on_dev() { [ "$(form_of "$1")" = text ] && [ ! -e "$(data_of "$1")/train.tsv" ]; }
table_split() { if trains_on_dev "$1"; then printf test; else reported_split "$1"; fi; }

model_flags=(--bert "$bert" --optimizer bert_adamw --batch-size 32 --max-length 128 $autocast --seed "$seed")
chosen_by() { printf -- '--best-checkpoint-metric %s --maximize-best-checkpoint-metric' "$1"; }

# best_of DIR METRIC RATE...: the learning rate whose training in DIR/RATE did best on the held-out tenth.
best_of() {
    local folder=$1 metric=$2 rate logs=()
    shift 2
    for rate in "$@"; do logs+=("$rate=$folder/$rate/train.log"); done
    cmlm-kd choose --metric "$metric" "${logs[@]}" 2> >(tee "$folder/validation.txt" >&2)
}

fine_tuning_rates=(5e-5 1e-4)
fine_tune() { # TITLE KIND ARCHITECTURE RATE
    step "$corpus: $1, learning rate $4" "$folder/$2/$4/train.log" \
        train "$folder/$2/$4" "$total" "$split" --task classification_kd --corpus "$form" --arch "$3" \
        "${model_flags[@]}" --criterion sentence_classification --lr "$4" $(schedule "$total") $(chosen_by accuracy)
}
train_teacher() { fine_tune "fine-tune encoder and teacher classifier" fine-tuned fastbert "$1"; } # RATE
train_plain() { fine_tune "fine-tune a plain encoder to compare with" plain bert_classifier "$1"; } # RATE

distilling_rates=(2e-4 1e-3)
distil() { # RATE
    step "$corpus: self-distil the branches, learning rate $1" "$folder/distilled/$1/train.log" \
        train "$folder/distilled/$1" "$longer" "$split" --task classification_kd --corpus "$form" --arch fastbert \
        "${model_flags[@]}" --criterion fastbert_kd --finetune-from-model "$fine_tuned" --lr "$1" \
        $(schedule "$longer") $(chosen_by branch_accuracy)
}

for corpus in "${corpora[@]}"; do
    form=$(form_of "$corpus") split=$run/split/$corpus folder=$run/$(basename "$bert")/$corpus
    train_file=()
    ! trains_on_dev "$corpus" || train_file=(--train-file dev.tsv)
    step "Hold out a tenth of $corpus" "$split" cmlm-kd split "$(data_of "$corpus")" --corpus "$form" \
        "${train_file[@]}" --hold-out 0.1 --hold-out-seed 1 --output "$split"
    total=$(updates_of "$corpus")
    longer=${updates:-$((total * 5 / 3))} # the paper's five epochs after three
    side_by_side train_plain "${fine_tuning_rates[@]}"
    plain=$folder/plain/$(best_of "$folder/plain" accuracy "${fine_tuning_rates[@]}")/checkpoint_best.pt
    side_by_side train_teacher "${fine_tuning_rates[@]}"
    fine_tuned=$folder/fine-tuned/$(best_of "$folder/fine-tuned" accuracy "${fine_tuning_rates[@]}")/checkpoint_best.pt
    side_by_side distil "${distilling_rates[@]}"
    distilled=$folder/distilled/$(best_of "$folder/distilled" branch_accuracy "${distilling_rates[@]}")/checkpoint_best.pt
    step "$corpus: export" "$folder/model" cmlm-kd export "$distilled" --output "$folder/model"
    step "$corpus: calibrate" "$folder/calibration.png" cmlm-kd calibrate "$folder/model" "$split" --corpus "$form" \
        --split valid --hold-out 0 --target-speedup "$target_speedup" --plot "$folder/calibration.png"
    step "$corpus: measure" "$folder/report.txt" cmlm-kd exits "$folder/model" "$(data_of "$corpus")" --corpus "$form" \
        --split "$(table_split "$corpus")" --speed 0.1 0.5 0.8 --plain "$plain" --plot "$folder/exits.png" \
        --output "$folder/report.txt"
done
for corpus in "${corpora[@]}"; do
    say "FastBERT, $corpus"
    cat "$run/$(basename "$bert")/$corpus/report.txt"
done; exit # not &&, which would hide failed steps; on this line, so that a run of hours survives an edit of this file
