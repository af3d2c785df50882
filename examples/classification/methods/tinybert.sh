# TinyBERT: first the layers, with the teacher beside the student, then its predictions, computed once. See
# docs/criteria/tinybert_kd.md. A setting is: learning rate of both stages [share of the updates that the layers get, in
# per cent, two thirds [training file in OUTPUT/split/CORPUS, which cmlm-kd augment wrote]].
train_alone() { train_bert_alone "$@"; }

distilled_settings=("1e-4 5e-5" "1e-4 2e-4" "3e-4 5e-5" "3e-4 2e-4")
train_distilled() { # FOLDER SEED SETTINGS
    local first second share file before
    read -r first second share file <<<"$3"
    local layers_updates=$((share ? total * share / 100 : 2 * total / 3))
    local predictions_updates=$((total - layers_updates)) train_file=(${file:+--train-file "$file"})
    before=$distilled_folder/layers-$first${share:+-$share}${file:+-$file}@$2
    local task=(--task classification_kd --corpus "$corpus" --criterion tinybert_kd --teacher "$teacher" "${train_file[@]}")
    step "Student of $corpus by tinybert, layers, $first${share:+ $share}${file:+ $file}, seed $2" "$before/train.log" train \
        "$before" "$layers_updates" "$split" "${task[@]}" "${bert_student[@]}" --disable-validation --lr "$first" \
        --seed "$2" $(schedule "$layers_updates")
    step "Student of $corpus by tinybert, predictions, $3, seed $2" "$1/train.log" train "$1" "$predictions_updates" \
        "$split" "${task[@]}" --kd-stage prediction --finetune-from-model "$before/checkpoint_last.pt" \
        --teacher-cache "$distilled_folder/teacher-outputs${file:+-$file}" "${bert_student[@]}" --lr "$second" --seed "$2" \
        $(schedule "$predictions_updates") $(chosen_by "$metric")
}
