# TinyBERT: two thirds of the updates for the layers, with the teacher beside the student, the rest for its predictions,
# computed once. See docs/criteria/tinybert_kd.md.
train_alone() { train_bert_alone "$@"; }

distilled_settings=("1e-4 5e-5" "1e-4 2e-4" "3e-4 5e-5" "3e-4 2e-4") # learning rates of both stages
train_distilled() { # FOLDER SEED SETTINGS
    local layers_updates=$((2 * total / 3)) first=${3% *} second=${3#* } before
    local predictions_updates=$((total - layers_updates))
    before=$distilled_folder/layers-$first@$2
    local task=(--task classification_kd --corpus "$corpus" --criterion tinybert_kd --teacher "$teacher")
    step "Student of $corpus by tinybert, layers, $first, seed $2" "$before/train.log" train "$before" "$layers_updates" \
        "$split" "${task[@]}" "${bert_student[@]}" --disable-validation --lr "$first" --seed "$2" \
        $(schedule "$layers_updates")
    step "Student of $corpus by tinybert, predictions, $3, seed $2" "$1/train.log" train "$1" "$predictions_updates" \
        "$split" "${task[@]}" --kd-stage prediction --finetune-from-model "$before/checkpoint_last.pt" \
        --teacher-cache "$distilled_folder/teacher-outputs" "${bert_student[@]}" --lr "$second" --seed "$2" \
        $(schedule "$predictions_updates") $(chosen_by "$metric")
}
