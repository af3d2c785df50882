#!/usr/bin/env bash
# The main job, from raw text to a scored student:
#   bash examples/translation/run.sh
#       German-English sentences about numbers, made on the spot; a small BERT is pre-trained on English text alone
#   bash examples/translation/run.sh --data multi30k --teacher DIR_OR_HUB_NAME [--data-dir DIR]
#       real captions and a real BERT; the captions come from DIR, or are fetched and checked
# Options: --student transformer|lstm, --seed N (of the students; 1), --output DIR, --updates N (stop every training
# after N updates, to try the road), --temperature T and --alpha A (of distillation: above 0, and in [0, 1]; by default 2
# and 0.5, with multi30k 1 and 0.1). A folder holds the results of one choice: give other ones another --output.
# A step whose output is there is skipped; an interrupted one goes on from its last checkpoint or shard.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"
cd "$repository"

data=numbers teacher= data_dir= student=transformer seed=1 output= updates= temperature= alpha=
parse_options "--data --teacher --data-dir --student --seed --output --updates --temperature --alpha" "$@"
case "$data" in numbers | multi30k) ;; *) die "--data is '$data'; it must be numbers or multi30k" ;; esac
case "$student" in transformer | lstm) ;; *) die "--student is '$student'; it must be transformer or lstm" ;; esac
[ "$data" = numbers ] || [ -n "$teacher" ] || die "--data multi30k needs --teacher DIR_OR_HUB_NAME, a BERT that knows German and English"
[ "$data" = multi30k ] || [ -z "$teacher$data_dir" ] || die "--teacher and --data-dir go with --data multi30k"
whole_number seed
[ -z "$updates" ] || whole_number updates above 0
[ -z "$temperature" ] || number temperature "above 0" "x > 0"
[ -z "$alpha" ] || number alpha "in [0, 1]" "x <= 1"
absolute teacher data_dir
set_up "runs/$data-$student${updates:+-$updates}"

# quietly: leave out what fairseq says of a model's every layer; errors and progress bars go to standard error.
quietly() { grep --line-buffered -e train_inner -e 'valid on' -e 'soft targets for' || true; }

# train SAVE_DIR MAX_UPDATES FLAGS...: fairseq-train with what all trainings share.
train() {
    local directory=$1 most=$2
    shift 2
    [ -z "$updates" ] || most=$updates
    mkdir -p "$directory"
    PYTHONWARNINGS=ignore fairseq-train --seed 1 "$@" --user-dir fairseq_plugins --save-dir "$directory" --max-update "$most" \
        --required-batch-size-multiple 1 --num-workers 0 --log-interval 50 --log-file "$directory/train.log" \
        --log-format "$([ -t 2 ] && echo tqdm || echo simple)" $cpu | quietly
}


# What follows differs between the two corpora: text, teacher, sizes, schedules.
if [ "$data" = numbers ]; then
    source_language=de target_language=en
    text=$run/corpus prefixes=(train valid test)
    step "Make the corpus" "$run/corpus" cmlm-kd numbers-corpus "$run/corpus"
    step "Train a tokenizer" "$run/tokenizer" cmlm-kd train-tokenizer --vocab-size 1500 --split-digits \
        --input "$text/train.de" "$text/train.en" "$text/mono.en" --output "$run/tokenizer"
    step "Pre-train a small BERT on English alone" "$run/bert/checkpoint_last.pt" train "$run/bert" 800 "$text" \
        --task masked_lm_kd --criterion bert_mlm --arch bert_masked_lm --bert-tokenizer "$run/tokenizer" \
        --train-text mono.en --valid-text valid.en --layers 4 --hidden-size 192 --heads 4 --ffn-size 768 --positions 128 \
        --mask-probability 0.3 --dropout 0 --optimizer bert_adamw --lr 1e-3 --lr-scheduler polynomial_decay \
        --warmup-updates 100 --total-num-update 800 --clip-norm 1 --max-tokens 1024 --no-epoch-checkpoints $autocast
    step "Export it" "$run/bert-huggingface" cmlm-kd export "$run/bert/checkpoint_last.pt" --to huggingface \
        --output "$run/bert-huggingface"
    teacher=$run/bert-huggingface
    # A small model with little time learns more from many small batches, half of the words hidden, and no dropout.
    teacher_updates=1600
    teacher_flags=(--lr 2e-3 --warmup-updates 100 --max-tokens 1024 --mask-probability 0.5 --dropout 0)
    dump_flags=(--max-tokens 4096)
    alpha=${alpha:-0.5} temperature=${temperature:-2} student_updates=600
    student_flags=(--max-tokens 1500 --dropout 0.2) # float32: matrices as small as these gain nothing from bfloat16
    transformer=(--encoder-layers 3 --decoder-layers 3 --lr 4e-3 --warmup-updates 100)
else
    source_language=de target_language=en
    text=$run/corpus prefixes=(train val test_2016_flickr)
    step "Get the captions" "$run/corpus" cmlm-kd fetch-multi30k "$run/corpus" ${data_dir:+--from "$data_dir"}
    teacher_updates=1656 teacher_flags=(--lr 3e-4 --warmup-updates 100 --max-tokens 2600)
    dump_flags=(--max-tokens 4096)
    alpha=${alpha:-0.1} temperature=${temperature:-1} student_updates=2000
    student_flags=(--max-tokens 4096 --dropout 0.3)
    transformer=(--encoder-layers 4 --decoder-layers 4 --lr 3e-3 --warmup-updates 500)
fi
if [ "$student" = transformer ]; then
    # Narrow and deep is what the literature on Multi30k finds best for so little text (Wu et al., ACL 2021).
    student_flags+=(--arch transformer "${transformer[@]}" --encoder-attention-heads 4 --decoder-attention-heads 4
        --encoder-embed-dim 128 --decoder-embed-dim 128 --encoder-ffn-embed-dim 256 --decoder-ffn-embed-dim 256
        --share-decoder-input-output-embed)
else
    student_flags+=(--arch lstm --encoder-bidirectional --encoder-embed-dim 256 --encoder-hidden-size 256
        --decoder-embed-dim 256 --decoder-hidden-size 256 --decoder-out-embed-dim 256 --lr 3e-3 --warmup-updates 200)
fi

# Prepare, teach the teacher, write down what it believes.
checked_step "Prepare the pairs" "$run/data-bin" cmlm-kd prepare --teacher "$teacher" -s "$source_language" -t "$target_language" \
    --trainpref "$text/${prefixes[0]}" --validpref "$text/${prefixes[1]}" --testpref "$text/${prefixes[2]}" \
    --destdir "$run/data-bin"
step "Fine-tune the teacher" "$run/teacher/checkpoint_last.pt" train "$run/teacher" "$teacher_updates" "$run/data-bin" \
    --task cmlm --criterion cmlm --arch bert_cmlm $autocast --optimizer bert_adamw --lr-scheduler polynomial_decay \
    --total-num-update "$teacher_updates" --clip-norm 1 "${teacher_flags[@]}" --keep-last-epochs 1 \
    --save-interval-updates 400 --keep-interval-updates 1 --best-checkpoint-metric accuracy --maximize-best-checkpoint-metric
checked_step "Write the soft targets" "$run/soft-targets" cmlm-kd dump "$run/data-bin" --teacher "$run/teacher/checkpoint_best.pt" \
    --output "$run/soft-targets" $autocast "${dump_flags[@]}"
cmlm-kd verify "$run/soft-targets" --data "$run/data-bin"

# Two students, alike but for the teacher; both choose their checkpoint by validation NLL.
student_flags+=(--optimizer adam --adam-betas "(0.9, 0.98)" --clip-norm 1 --label-smoothing 0.1
    --lr-scheduler polynomial_decay --total-num-update "$student_updates" --seed "$seed"
    --no-epoch-checkpoints --best-checkpoint-metric nll_loss)
train_student() {
    if [ "$1" = alone ]; then
        step "Train the student alone" "$run/alone/checkpoint_last.pt" train "$run/alone" "$student_updates" "$run/data-bin" \
            --task translation_kd --soft-targets none --criterion soft_target_kd --kd-alpha 0 "${student_flags[@]}"
    else
        step "Train the student with the teacher" "$run/distilled/checkpoint_last.pt" train "$run/distilled" "$student_updates" \
            "$run/data-bin" --task translation_kd --soft-targets "$run/soft-targets" --criterion soft_target_kd \
            --kd-alpha "$alpha" --kd-temperature "$temperature" --kd-topk 8 "${student_flags[@]}"
    fi
}
side_by_side train_student alone distilled

# Translate and compare.
translate() {
    with_log "$run/generated/$1.log" fairseq-generate "$run/data-bin" --user-dir fairseq_plugins --task translation --path "$run/$1/checkpoint_best.pt" \
        --gen-subset test --beam 5 --max-len-a 2 --max-len-b 10 --max-tokens 4096 --required-batch-size-multiple 1 --post-process sentencepiece $cpu \
        >"$run/generated/$1.txt.partial"
    mv "$run/generated/$1.txt.partial" "$run/generated/$1.txt"
}
mkdir -p "$run/generated"
for name in alone distilled; do # in turn, so that neither disturbs the other's speed
    step "Translate with the student: $name" "$run/generated/$name.txt" translate "$name"
done
say "The result"
cmlm-kd report --student alone="$run/alone/checkpoint_best.pt" distilled="$run/distilled/checkpoint_best.pt" \
    --generated alone="$run/generated/alone.txt" distilled="$run/generated/distilled.txt" --baseline alone \
    --reference "$run/data-bin/raw/test.$target_language" --output "$run/report"
