# BiLSTM: the teacher's logits for the training set and many sentences made from it, computed once. Three updates of 50
# examples stand for one of a BERT. See docs/criteria/bilstm_kd.md.
alone_folder=$run/$corpus/bilstm/alone
[ -n "$updates" ] || total=$((3 * total))
student=(--arch bilstm_classifier --word-vectors "${word_vectors:-teacher}" --teacher "$teacher" --max-length 128
    --optimizer adadelta --adadelta-rho 0.95 --batch-size 50)
alone_settings=("--lr 1.0 --dropout 0.1" "--lr 1.0 --dropout 0.5" "--lr 0.3 --dropout 0.1" "--lr 0.3 --dropout 0.5")
distilled_settings=(
    "--lr 1.0 --kd-alpha 0"
    "--lr 1.0 --kd-alpha 0.5 --kd-labels teacher"
    "--lr 0.3 --kd-alpha 0"
    "--lr 0.3 --kd-alpha 0.5 --kd-labels teacher"
)
case "$corpus" in # a training sees no more than some 500,000 examples
    RTE | MRPC | SICK-* | STS-B | CoLA) iterations=() ;;
    *) iterations=(--iterations 4) ;;
esac
step "Sentences made from $corpus" "$split/augmented.tsv" cmlm-kd augment "$split" --corpus "$corpus" \
    "${iterations[@]}" --output "$split/augmented.tsv"

# The teacher that the student alone is given is not asked anything: its word embeddings are what both may start from.
train_alone() { # FOLDER SEED SETTINGS
    step "BiLSTM of $corpus alone, $3, seed $2" "$1/train.log" train "$1" "$total" "$split" --task classification_kd \
        --corpus "$corpus" --criterion sentence_classification "${student[@]}" $3 --seed "$2" $(chosen_by "$metric")
}
train_distilled() { # FOLDER SEED SETTINGS
    step "BiLSTM of $corpus by bilstm_kd, $3, seed $2" "$1/train.log" train "$1" "$total" "$split" \
        --task classification_kd --corpus "$corpus" --criterion bilstm_kd --train-file augmented.tsv \
        --teacher-cache "$distilled_folder/teacher-outputs" "${student[@]}" $3 --seed "$2" $(chosen_by "$metric")
}
