# MobileBERT: an IB-BERT as deep as the encoder and inside as wide is trained first, with --teacher-updates updates; the
# student is as deep, passes on states as wide, and is a quarter as wide inside. The first --transfer-updates of its
# updates, half of them, transfer knowledge layer by layer, the rest distil predictions; with "all", all do both. Both
# students begin with the teacher's embeddings and masked-LM head; bert_mlm does not ask it in training. See
# docs/criteria/mobilebert_kd.md.
read -r inside deep < <(python -c 'import sys; from transformers import AutoConfig
config = AutoConfig.from_pretrained(sys.argv[1]); print(config.hidden_size, config.num_hidden_layers)' "$bert$teacher")
shape=(--layers "$deep" --hidden-size $((inside / 2)) --embedding-size $((inside / 4)) --heads 4 --positions 128)
student=(--arch mobilebert "${shape[@]}" --bottleneck-size $((inside / 4)) --ffn-size "$inside")
max_tokens=${teacher_max_tokens:-$max_tokens} \
    pretrain "$run/mobilebert/ib_bert" "${teacher_updates:-$updates}" "IB-BERT, the teacher" --criterion bert_mlm \
    --arch ib_bert --bert-tokenizer "$bert$teacher" "${shape[@]}" --bottleneck-size "$inside" --ffn-size $((4 * inside)) \
    --lr 5e-4
teacher=$run/mobilebert/ib_bert/huggingface teaching=ib_bert # from here on; no method comes after
for corpus in "${corpora[@]}"; do fine_tune "$corpus" ib_bert "$teacher" 1; done

pretrain_alone() { # FOLDER
    pretrain "$1" "$updates" "MobileBERT's shape alone" --criterion bert_mlm --teacher "$teacher" "${student[@]}" \
        --lr 5e-4
}

pretrain_distilled() { # FOLDER
    local transfer=$transfer_updates turns last=(--kd-transfer-updates 0)
    [ "$transfer" != all ] || transfer=0 last=(--kd-strategy auxiliary)
    # Rates of the layers rise and fall with their turns; the common one stays, once it has risen.
    if [ "$transfer" != 0 ]; then
        turns=$((transfer > deep ? transfer : deep)) # with fewer updates than layers, in a trial, some have no turn
        pretrain "$1/transfer" "$transfer" "MobileBERT, layer by layer" --criterion mobilebert_kd --teacher "$teacher" \
            --kd-transfer-updates "$turns" "${student[@]}" --lr 5e-4 --end-learning-rate 5e-4 --disable-validation \
            "${rest[@]}"
        last+=(--finetune-from-model "$1/transfer/checkpoint_last.pt")
    fi
    pretrain "$1" $((updates - transfer)) "MobileBERT, predictions" --criterion mobilebert_kd --teacher "$teacher" \
        "${last[@]}" "${student[@]}" --lr 5e-4 "${rest[@]}"
}
