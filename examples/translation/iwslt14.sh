#!/usr/bin/env bash
# IWSLT14 German-English with the settings of the C-MLM paper (Chen et al., 2020, appendix A).
#   bash examples/translation/iwslt14.sh --data-dir DIR --teacher bert-base-multilingual-cased
#       [--output DIR] [--updates N] [-- flags for both students' trainings]
# DIR holds the campaign's de-en.tgz. --updates N stops every training after N updates, to try the road. Each
# step is a plain command that also works alone (without the word "once" before it, which skips a training that
# has finished: fairseq would add one more update); run again, the script goes on where it stopped.
# The authors used one GPU of 24 GB. "-- --fp16" or "-- --max-tokens 3072 --update-freq 2" suit smaller ones.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"

data_dir= teacher= output= updates= rest=()
parse_options "--data-dir --teacher --output --updates --" "$@"
[ -n "$data_dir" ] || die "--data-dir is missing; give the directory that holds de-en.tgz"
[ -n "$teacher" ] || die "--teacher is missing; the paper's is bert-base-multilingual-cased"
[ -z "$updates" ] || whole_number updates above 0

for command in cmlm-kd fairseq-train fairseq-generate; do
    command -v "$command" >/dev/null && continue # else no environment is active: make one
    bash "$repository/scripts/setup.sh"
    PATH=$repository/.venv/bin:$PATH
    break
done
find_device
plugin=$(cmlm-kd user-dir)
output=${output:-iwslt14${updates:+-$updates}}

# once NAME COMMAND...: run a command unless the same one has finished.
once() {
    local marker=$output/finished/$1
    shift
    if [ -f "$marker" ] && same_command "$(cat "$marker")" "$*"; then
        printf 'finished before\n'
        return
    fi
    "$@"
    mkdir -p "$output/finished"
    printf '%s\n' "$*" >"$marker"
}

say "text: every 23rd pair for validation, five evaluation sets for testing, lower-cased"
python "$repository/scripts/prepare_iwslt14.py" "$data_dir/de-en.tgz" "$output/raw" --lowercase

say "the teacher's pieces, one dictionary for both languages"
cmlm-kd prepare --teacher "$teacher" --source-lang de --target-lang en --joined-dictionary \
    --trainpref "$output/raw/train" --validpref "$output/raw/valid" --testpref "$output/raw/test" \
    --destdir "$output/data-bin"

say "teacher: BERT becomes a conditional masked language model"
once teacher fairseq-train "$output/data-bin" --user-dir "$plugin" --task cmlm --criterion cmlm --arch bert_cmlm \
    --optimizer bert_adamw --lr 5e-5 --clip-norm 1.0 $autocast \
    --lr-scheduler polynomial_decay --warmup-updates 5000 --total-num-update 100000 \
    --max-tokens 16384 --required-batch-size-multiple 1 --max-update "${updates:-100000}" --seed 42 \
    --no-epoch-checkpoints --save-dir "$output/teacher"

say "soft targets: every target position predicted once, from everything else"
cmlm-kd dump "$output/data-bin" --teacher "$output/teacher/checkpoint_last.pt" --topk 8 $autocast \
    --output "$output/soft-targets"

# Transformer base, pre-norm, embeddings and output layer tied; dropout inside attention and feed-forward too.
# Both students keep the checkpoint with the best BLEU on validation.
student=(
    --source-lang de --target-lang en
    --arch transformer --encoder-normalize-before --decoder-normalize-before --share-all-embeddings
    --dropout 0.3 --attention-dropout 0.3 --activation-dropout 0.3 --label-smoothing 0.1
    --optimizer adam --adam-betas "(0.9, 0.98)" --adam-eps 1e-9 --clip-norm 5.0 --lr-scheduler inverse_sqrt
    --max-tokens 6144 --required-batch-size-multiple 1 --seed 3435
    --eval-bleu --eval-bleu-remove-bpe sentencepiece --best-checkpoint-metric bleu
    --eval-bleu-args '{"beam": 4, "lenpen": 0.5, "max_len_a": 1.2, "max_len_b": 10}'
    --maximize-best-checkpoint-metric --no-epoch-checkpoints
)

say "student alone: 50,000 updates, peak rate 6.99e-4"
once alone fairseq-train "$output/data-bin" --user-dir "$plugin" --task translation "${student[@]}" \
    --criterion label_smoothed_cross_entropy \
    --lr 6.99e-4 --warmup-updates 4000 --max-update "${updates:-50000}" \
    --save-dir "$output/alone" "${rest[@]}"

say "student with the teacher: 100,000 updates, peak rate 9.88e-4"
once distilled fairseq-train "$output/data-bin" --user-dir "$plugin" --task translation_kd "${student[@]}" \
    --criterion soft_target_kd --kd-alpha 0.5 --kd-temperature 10 --kd-topk 8 \
    --soft-targets "$output/soft-targets" \
    --lr 9.88e-4 --warmup-updates 8000 --max-update "${updates:-100000}" \
    --save-dir "$output/distilled" "${rest[@]}"

# The paper decodes with beam 4 and the penalty ((5 + length) / 6)^0.6. fairseq's is length^lenpen: another
# function, whose growth at 25 pieces is the same with lenpen 0.5 (0.6 * 25 / 30).
say "translate the test set"
for name in alone distilled; do
    fairseq-generate "$output/data-bin" --user-dir "$plugin" --source-lang de --target-lang en \
        --path "$output/$name/checkpoint_best.pt" --gen-subset test \
        --beam 4 --lenpen 0.5 --max-len-a 1.2 --max-len-b 10 --max-tokens 6144 \
        --required-batch-size-multiple 1 --post-process sentencepiece >"$output/$name.txt"
done

say "score, lower-cased"
cmlm-kd score --from-generate --lowercase --reference "$output/data-bin/raw/test.en" --baseline alone \
    --hypothesis alone="$output/alone.txt" distilled="$output/distilled.txt"
