# PKD: the teacher's predictions and [CLS] states, computed once. See docs/criteria/pkd.md.
train_alone() { train_bert_alone "$@"; }

distilled_settings=(
    "--lr 1e-4 --kd-temperature 5 --kd-alpha 0.7 --kd-beta 10"
    "--lr 2e-4 --kd-temperature 5 --kd-alpha 0.7 --kd-beta 10"
    "--lr 1e-4 --kd-temperature 10 --kd-alpha 0.5 --kd-beta 100"
    "--lr 2e-4 --kd-temperature 10 --kd-alpha 0.5 --kd-beta 100"
)
train_distilled() { # FOLDER SEED SETTINGS
    step "Student of $corpus by pkd, $3, seed $2" "$1/train.log" train "$1" "$total" "$split" --task classification_kd \
        --corpus "$corpus" --criterion pkd --teacher "$teacher" --teacher-cache "$distilled_folder/teacher-outputs" \
        "${bert_student[@]}" $3 --seed "$2" $(schedule "$total") $(chosen_by "$metric")
}
