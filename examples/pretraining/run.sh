#!/usr/bin/env bash
# Small general-purpose BERTs from running text, with a teacher and without, and what fine-tuning makes of them:
#   bash examples/pretraining/run.sh --method distilbert --text text --bert bert-base-uncased --data glue --corpus SST-2
# Options:
#   --method distilbert|tinybert|mobilebert|all
#   --text DIR               has train.txt and valid.txt, a sentence or paragraph a line (.gz too)
#   --bert DIR_OR_HUB_NAME   the teacher is this encoder, its masked-LM head trained on the text
#   --teacher DIR            or this masked language model, as it is
#   --data DIR               has a folder for each corpus to fine-tune on, or is the folder of the one corpus
#   --corpus NAME[,NAME...]  SST-2, MRPC, ... as in docs/classification.md
#   --layers 0,2,4           DistilBERT begins with these layers of the teacher; TinyBERT has as many, MobileBERT all
#   --width N                of TinyBERT's hidden states; default: the teacher's
#   --teacher-updates N      of the masked-LM head, and of the IB-BERT that teaches MobileBERT; as --updates
#   --teacher-max-tokens N   positions of a batch of text in these; as --max-tokens
#   --head-updates N         the last of TinyBERT's updates, which train its masked-LM head; default: a quarter of them
#   --head-criterion NAME    by what: bert_mlm (default), or distilbert_kd, from the teacher's predictions
#   --transfer-updates N     the first of MobileBERT's, layer by layer; default: half of them; 0: predictions alone; all:
#                            layers and predictions together, all the time
#   --seeds 1,2,3            of fine-tuning; pre-training has one
#   --max-tokens 3072        positions of a batch of text
#   --name NAME              of the student with a teacher; default: distilled
#   --output DIR             runs/pretraining; what is there already is not repeated
#   --updates N              of every pre-training, 2000; with 2 fine-tuning has as few, which tries the road
#   -- FLAGS...              more flags of the training with the teacher; with another --name its student stands beside
#                            what is there
# Both students of a method start alike and make as many updates. Nothing is chosen on the dev sets, which are only for
# the table.
# A step whose output is there is skipped; an interrupted training goes on from its last checkpoint.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"
cd "$repository"
here=examples/pretraining

method= text= bert= teacher= data= corpus= layers=0,2,4 width= seeds=1,2,3 max_tokens=3072 output= updates=2000
teacher_updates= teacher_max_tokens= head_updates= head_criterion=bert_mlm transfer_updates= name=distilled
rest=()
parse_options "--method --text --bert --teacher --data --corpus --layers --width --teacher-updates --seeds --max-tokens \
    --teacher-max-tokens --head-updates --head-criterion --transfer-updates --name --output --updates --" "$@"
case "$method" in
    distilbert | tinybert | mobilebert) methods=("$method") ;;
    all) methods=(distilbert tinybert mobilebert) ;;
    *) die "--method is '$method'; it must be distilbert, tinybert, mobilebert or all" ;;
esac
required text data corpus
[ -n "$bert$teacher" ] || die "--bert is missing, or --teacher; see --help"
[ -z "$bert" ] || [ -z "$teacher" ] || die "--bert and --teacher do not go together; see --help"
whole_number updates above 1
whole_number max_tokens above 1
[ -z "$width" ] || whole_number width above 0
[ -z "$teacher_updates" ] || whole_number teacher_updates above 0
whole_numbers seeds
whole_numbers layers
IFS=, read -ra seeds <<<"$seeds"
IFS=, read -ra corpora <<<"$corpus"
depth=$(tr -cd , <<<"$layers" | wc -c)
depth=$((depth + 1))
[ -z "$teacher_max_tokens" ] || whole_number teacher_max_tokens above 1
tinybert_updates=$((updates + (updates + 2) / 3))
head_updates=${head_updates:-$(((updates + 2) / 3))} transfer_updates=${transfer_updates:-$((updates / 2))}
whole_number head_updates above 0
[ "$head_updates" -lt "$tinybert_updates" ] ||
    die "--head-updates is $head_updates; it must be below $tinybert_updates, all of TinyBERT's updates"
[ "$transfer_updates" = all ] || {
    whole_number transfer_updates
    [ "$transfer_updates" -lt "$updates" ] ||
        die "--transfer-updates is $transfer_updates; it must be below $updates, all of MobileBERT's updates, or 'all'"
}
[[ $head_criterion =~ ^(bert_mlm|distilbert_kd)$ ]] ||
    die "--head-criterion is '$head_criterion'; it must be bert_mlm or distilbert_kd"
[[ $name =~ ^[a-z0-9-]+$ && $name != alone ]] ||
    die "--name is '$name'; give small letters, digits and -, not 'alone'"
[ ${#rest[@]} = 0 ] || [ "$method" != all ] || die "flags after -- are of one --method, not of all"
absolute text bert teacher data
set_up runs/pretraining

# pretrain FOLDER UPDATES TITLE FLAGS...: train on the text; leaves FOLDER/huggingface. All rows have at most 128
# positions, and their pieces are written down once for all trainings. There is no dropout: a run of thousands of updates
# reads a text once or twice.
pretrain() {
    local folder=$1 most=$2 title=$3 kept=checkpoint_best.pt
    shift 3
    case " $* " in *" --disable-validation "*) kept=checkpoint_last.pt ;; esac
    step "$title" "$folder/train.log" train "$folder" "$most" "$text" --task masked_lm_kd --tokenized "$run/tokenized" \
        --max-length 128 --max-tokens "$max_tokens" --dropout 0 --optimizer bert_adamw $autocast --seed 1 \
        $(schedule "$most") "$@"
    step "$title: export" "$folder/huggingface" cmlm-kd export "$folder/$kept" --output "$folder/huggingface"
}

# masked_lm_teacher: leave in $teacher the masked language model that teaches, which is --teacher or --bert with a head,
# and fine-tune it.
masked_lm_teacher() {
    local corpus
    if [ -z "$teacher" ]; then
        max_tokens=${teacher_max_tokens:-$max_tokens} \
            pretrain "$run/teacher" "${teacher_updates:-$updates}" "Teacher: a masked-LM head for $bert" --criterion bert_mlm \
            --arch bert_masked_lm --bert "$bert" --lr 1e-4
        teacher=$run/teacher/huggingface
    fi
    for corpus in "${corpora[@]}"; do fine_tune "$corpus" teacher "$teacher" 1; done
}

# A method is a file of methods that makes its teacher, defines pretrain_alone and pretrain_distilled (FOLDER; each
# leaves FOLDER/huggingface), and may define afterwards, which trains more students on the corpora and names them in
# further.

# fine_tune CORPUS NAME DIRECTORY SEED: leaves the best checkpoint on the held-out tenth.
fine_tune() {
    local folder=$run/$1/$2@$4 total
    total=$(fine_tuning_updates "$1")
    step "Fine-tune $2 on $1, seed $4" "$folder/train.log" train "$folder" "$total" "$run/split/$1" \
        --task classification_kd --corpus "$1" --arch bert_classifier --bert "$3" --criterion sentence_classification \
        --optimizer bert_adamw --lr 1e-4 --batch-size 32 --max-length 128 --dropout 0.1 $autocast --seed "$4" \
        $(schedule "$total") --best-checkpoint-metric "$(metric_of "$1")" --maximize-best-checkpoint-metric
}
fine_tuning_updates() { if [ "$updates" = 2 ]; then printf 2; else updates= updates_of "$1"; fi; }

# lane alone|NAME: pre-train a student and fine-tune it on every corpus.
lane() {
    local corpus seed kind=distilled
    [ "$1" != alone ] || kind=alone
    "pretrain_$kind" "$run/$method/$1"
    for corpus in "${corpora[@]}"; do
        for seed in "${seeds[@]}"; do fine_tune "$corpus" "$method-$1" "$run/$method/$1/huggingface" "$seed"; done
    done
}

# measure_text FILE FLAGS...: masked accuracy and agreement, into the folder of the student with a teacher.
measure_text() {
    local result=$run/$method/$name/$1
    step "$method: measure on the text, $1" "$result" cmlm-kd evaluate-masked-lm "$valid" "${@:2}" --teacher "$teacher" \
        --model "teacher=$teacher" "alone=$run/$method/alone/huggingface" \
        "$name=$run/$method/$name/huggingface" --output "$result"
    say "$method, text, $1"
    cat "$result"
}

# report: on the text, and on the dev sets of the corpora. More students to measure on these are those in the array
# further: NAME=FOLDER, where $run/CORPUS/FOLDER@SEED has a checkpoint; teaching is the folder of the teacher. With
# hides=frequency the students were trained on rare pieces, and are asked about rare pieces, too.
report() {
    local corpus entry seed models others result
    measure_text masked.txt
    [ "$hides" = random ] || measure_text "masked-$hides.txt" --masking "$hides" --tokenized "$run/tokenized"
    for corpus in "${corpora[@]}"; do
        models=("teacher=$run/$corpus/$teaching@1/checkpoint_best.pt")
        others=("alone=$method-alone" "$name=$method-$name" "${further[@]}")
        result=$run/$method/$name/$corpus
        for entry in "${others[@]}"; do
            for seed in "${seeds[@]}"; do
                models+=("${entry%%=*}@$seed=$run/$corpus/${entry#*=}@$seed/checkpoint_best.pt")
            done
        done
        step "$method: measure on $corpus" "$result.json" cmlm-kd evaluate "$(data_of "$corpus")" \
            --corpus "$corpus" --split "$(reported_split "$corpus")" --model "${models[@]}" \
            --predictions "$result-predictions" --format json --output "$result.json"
        say "$method, $corpus"
        cmlm-kd compare-seeds "$result.json" --predictions "$result-predictions" \
            --baseline alone --metric "$(metric_of "$corpus")" | tee "$result.txt"
    done
}

. examples/classification/corpora.sh
valid=$text/valid.txt
[ -e "$valid" ] || valid=$valid.gz
for corpus in "${corpora[@]}"; do
    step "Hold out a tenth of $corpus" "$run/split/$corpus" cmlm-kd split "$(data_of "$corpus")" --corpus "$corpus" \
        --hold-out 0.1 --hold-out-seed 1 --output "$run/split/$corpus"
done
for method in "${methods[@]}"; do
    further=() teaching=teacher hides=random
    . "$here/methods/$method.sh"
    side_by_side lane alone "$name"
    ! declare -F afterwards >/dev/null || afterwards
    report
    unset -f afterwards
done; exit # not &&, which would hide failed steps; on this line, so that a run of hours survives an edit of this file
