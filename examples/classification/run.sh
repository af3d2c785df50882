#!/usr/bin/env bash
# A student with a teacher beside the same student without, from a pre-trained encoder to a table:
#   bash examples/classification/run.sh --method pkd --corpus SST-2,RTE --data glue --bert bert-base-uncased
# Options:
#   --method pkd|tinybert|bilstm|mtdnn|all
#   --corpus NAME[,NAME...]  as in docs/classification.md; mtdnn trains on all of them together
#   --data DIR               has a folder for each corpus, or is the folder of the one corpus
#   --bert DIR_OR_HUB_NAME   the teacher is this encoder, fine-tuned; students are its first layers, or a BiLSTM
#   --layers N               of the student, 3
#   --seeds 1,2,3            each of both students is trained with; settings are chosen with the first
#   --settings 'A;B;...'     for the student with a teacher to choose from; default: the method's, in methods/METHOD.sh
#   --word-vectors FILE      of the BiLSTM, for example GloVe; default: the teacher's own word embeddings
#   --output DIR             runs/classification; trainings that are there already are not repeated
#   --updates N              of every training; default: by corpus. 2 tries the road
# A tenth of the training set is held out: settings and checkpoints are chosen there, with and without a teacher among
# as many settings. The dev set (SICK: the test set) is only for the table.
# A step whose output is there is skipped; an interrupted training goes on from its last checkpoint.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"
cd "$repository"
here=examples/classification
. "$here/steps.sh"

method= corpus= data= bert= layers=3 seeds=1,2,3 settings= word_vectors= output= updates=
parse_options "--method --corpus --data --bert --layers --seeds --settings --word-vectors --output --updates" "$@"
case "$method" in
    pkd | tinybert | bilstm | mtdnn) methods=("$method") ;;
    all) methods=(pkd tinybert bilstm mtdnn) ;;
    *) die "--method is '$method'; it must be pkd, tinybert, bilstm, mtdnn or all" ;;
esac
required corpus data bert
[ -z "$settings" ] || [ "$method" != all ] || die "--settings are those of one --method, not of all; see --help"
whole_number layers above 0
[ -z "$updates" ] || whole_number updates above 1
whole_numbers seeds
IFS=, read -ra seeds <<<"$seeds"
IFS=, read -ra corpora <<<"$corpus"
absolute data bert word_vectors
set_up "runs/classification${updates:+-$updates}"
. "$here/corpora.sh"

# What all BERTs are trained with.
bert_flags=(--optimizer bert_adamw --batch-size 32 --max-length 128 $autocast)
chosen_by() { printf -- '--best-checkpoint-metric %s --maximize-best-checkpoint-metric' "$1"; }
bert_student=(--arch bert_classifier --bert "$bert" --layers "$layers" "${bert_flags[@]}")

# The teacher of one corpus: of two learning rates the better one.
teacher_rates=(5e-5 1e-4)
train_teacher() {
    step "Teacher of $corpus, learning rate $1" "$run/$corpus/teacher/$1/train.log" train "$run/$corpus/teacher/$1" \
        "$total" "$split" --task classification_kd --corpus "$corpus" --arch bert_classifier --bert "$bert" \
        --criterion sentence_classification "${bert_flags[@]}" --lr "$1" --seed 1 $(schedule "$total") $(chosen_by "$metric")
}
make_teacher() {
    teacher=$run/$corpus/teacher/huggingface
    [ ! -e "$teacher" ] || return 0
    side_by_side train_teacher "${teacher_rates[@]}"
    local rate logs=()
    for rate in "${teacher_rates[@]}"; do logs+=("$rate=$run/$corpus/teacher/$rate/train.log"); done
    rate=$(cmlm-kd choose --metric "$metric" "${logs[@]}" 2> >(tee "$run/$corpus/teacher/validation.txt" >&2))
    cmlm-kd export "$run/$corpus/teacher/$rate/checkpoint_best.pt" --output "$teacher"
    rm -f "$run/$corpus/teacher/"*/checkpoint*.pt
}

# A BERT student without teacher: the same for pkd and tinybert.
train_bert_alone() { # FOLDER SEED SETTINGS
    step "Student of $corpus alone, $3, seed $2" "$1/train.log" train "$1" "$total" "$split" --task classification_kd \
        --corpus "$corpus" --criterion sentence_classification "${bert_student[@]}" $3 --seed "$2" \
        $(schedule "$total") $(chosen_by "$metric")
}

# Given settings take the place of the method's, and what comes of them lies beside what came of those.
given_settings() { [ -z "$settings" ] || IFS=';' read -ra distilled_settings <<<"$settings"; }
variant=${settings:+-$(tr -c '[:alnum:].\n' - <<<"$settings")}
[ ${#variant} -le 120 ] || variant=${variant:0:100}-$(cksum <<<"$settings" | cut -d ' ' -f 1) # a file's name is short

for corpus in "${corpora[@]}"; do
    step "Hold out a tenth of $corpus" "$run/split/$corpus" cmlm-kd split "$(data_of "$corpus")" --corpus "$corpus" \
        --hold-out 0.1 --hold-out-seed 1 --output "$run/split/$corpus"
done
for method in "${methods[@]}"; do
    alone_settings=("--lr 5e-5" "--lr 1e-4" "--lr 2e-4" "--lr 4e-4")
    if [ "$method" = mtdnn ]; then # it trains on all corpora at once
        . "$here/methods/mtdnn.sh"
        continue
    fi
    for corpus in "${corpora[@]}"; do
        split=$run/split/$corpus metric=$(metric_of "$corpus") total=$(updates_of "$corpus")
        make_teacher
        alone_folder=$run/$corpus/alone distilled_folder=$run/$corpus/$method$variant/distilled
        . "$here/methods/$method.sh"
        given_settings
        side_by_side lane alone distilled
        report "$run/$corpus/$method$variant" "$corpus" "$teacher"
    done
done; exit # not &&, which would hide failed steps; on this line, so that a run of hours survives an edit of this file
