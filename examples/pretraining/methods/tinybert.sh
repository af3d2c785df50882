# TinyBERT: a new BERT that imitates the teacher's layers on text of which nothing is hidden; its masked-LM head is trained
# afterwards, and the student alone makes as many updates as both together, a third more than --updates. Fine-tuning
# starts from the end of that; the paper's own second stage, on the corpora, from the layers. See
# docs/criteria/tinybert_kd.md.
masked_lm_teacher
read -r teacher_width heads < <(python -c 'import sys; from transformers import AutoConfig
config = AutoConfig.from_pretrained(sys.argv[1]); print(config.hidden_size, config.num_attention_heads)' "$teacher")
width=${width:-$teacher_width}
student=(--arch bert_masked_lm --bert-tokenizer "$teacher" --layers "$depth" --hidden-size "$width"
    --heads "$heads" --ffn-size $((4 * width)) --positions 128)

head=(--criterion "$head_criterion")
[ "$head_criterion" = bert_mlm ] || head+=(--teacher "$teacher" --kd-cosine-weight 0 --kd-positions masked)

pretrain_alone() { # FOLDER
    pretrain "$1" "$tinybert_updates" "TinyBERT's shape alone" --criterion bert_mlm "${student[@]}" --lr 5e-4
}

pretrain_distilled() { # FOLDER
    pretrain "$1/general" $((tinybert_updates - head_updates)) "TinyBERT, general stage" --criterion tinybert_kd \
        --teacher "$teacher" --masking none "${student[@]}" --lr 5e-4 --disable-validation "${rest[@]}"
    pretrain "$1" "$head_updates" "TinyBERT's masked-LM head" "${head[@]}" --arch bert_masked_lm \
        --bert "$1/general/huggingface" --lr 5e-4
}

# Both stages of the recipe, with the fine-tuned teacher: two thirds of the updates for layers, the rest for predictions.
afterwards() {
    local corpus seed total first second folder task
    for corpus in "${corpora[@]}"; do
        total=$(fine_tuning_updates "$corpus")
        first=$((2 * total / 3)) second=$((total - 2 * total / 3))
        step "Export the teacher of $corpus" "$run/$corpus/teacher" cmlm-kd export \
            "$run/$corpus/teacher@1/checkpoint_best.pt" --output "$run/$corpus/teacher"
        for seed in "${seeds[@]}"; do
            folder=$run/$corpus/tinybert-$name-two-stages
            task=("$run/split/$corpus" --task classification_kd --corpus "$corpus" --criterion tinybert_kd
                --teacher "$run/$corpus/teacher" --arch bert_classifier --bert "$run/tinybert/$name/general/huggingface"
                --optimizer bert_adamw --batch-size 32 --max-length 128 --dropout 0.1 $autocast --seed "$seed")
            step "TinyBERT on $corpus, layers, seed $seed" "$folder-layers@$seed/train.log" train "$folder-layers@$seed" \
                "$first" "${task[@]}" --disable-validation --lr 1e-4 $(schedule "$first")
            step "TinyBERT on $corpus, predictions, seed $seed" "$folder@$seed/train.log" train "$folder@$seed" \
                "$second" "${task[@]}" --kd-stage prediction --lr 1e-4 $(schedule "$second") \
                --finetune-from-model "$folder-layers@$seed/checkpoint_last.pt" \
                --best-checkpoint-metric "$(metric_of "$corpus")" --maximize-best-checkpoint-metric
        done
    done
    further=("$name-two-stages=tinybert-$name-two-stages")
}
