# DistilBERT: layers of the teacher, trained on its predictions, the hidden pieces and its last hidden states. See
# docs/criteria/distilbert_kd.md.
masked_lm_teacher
hides=frequency
student=(--arch distilbert --bert "$teacher" --init-layers "$layers" --masking "$hides" --lr 5e-4)

pretrain_alone() { # FOLDER
    pretrain "$1" "$updates" "DistilBERT alone" --criterion bert_mlm "${student[@]}"
}

pretrain_distilled() { # FOLDER
    pretrain "$1" "$updates" "DistilBERT by distilbert_kd" --criterion distilbert_kd --teacher "$teacher" \
        "${student[@]}" "${rest[@]}"
}
