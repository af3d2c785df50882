# MT-DNN: four models of all tasks, of which the best two become the teachers of each task, fine-tuned on it; their
# ensembles teach one student of all tasks. See docs/criteria/mtdnn_kd.md; mtdnn.sh is the paper's size of it.
folder=$run/mtdnn/$(IFS=+ && printf '%s' "${corpora[*]}")
alone_folder=$folder/alone distilled_folder=$folder/distilled$variant metric=score total=0
for corpus in "${corpora[@]}"; do total=$((total + $(updates_of "$corpus"))); done
[ -z "$updates" ] || total=$updates
tasks=(--task multitask_kd --corpora "$(IFS=, && printf '%s' "${corpora[*]}")" --arch multitask_bert --bert "$bert"
    "${bert_flags[@]}" $(schedule "$total") $(chosen_by score))

dropouts=(0 0.1 0.1 0.2 0.2) # of models 1 to 4
train_models() {             # NUMBERS
    local number
    for number in $1; do
        step "Model $number of all tasks" "$folder/models/$number/train.log" train "$folder/models/$number" "$total" \
            "$run/split" "${tasks[@]}" --criterion sentence_classification --lr 1e-4 --seed "$number" \
            --dropout "${dropouts[number]}"
    done
}
make_teachers_of() { # NUMBER of a model
    local corpus own most
    for corpus in "${corpora[@]}"; do
        own=$folder/teachers/$corpus-$1 most=$(updates_of "$corpus")
        step "Model $1 for $corpus" "$own-start" cmlm-kd export "$folder/models/$1/checkpoint_best.pt" --task "$corpus" \
            --output "$own-start"
        step "Teacher of $corpus from model $1" "$own/train.log" train "$own" "$most" "$run/split/$corpus" \
            --task classification_kd --corpus "$corpus" --arch bert_classifier --bert "$own-start" --keep-head \
            --criterion sentence_classification "${bert_flags[@]}" --lr 5e-5 --seed "$1" $(schedule "$most") \
            $(chosen_by "$(metric_of "$corpus")")
        step "Export it" "$own-huggingface" cmlm-kd export "$own/checkpoint_best.pt" --output "$own-huggingface"
    done
}
side_by_side train_models "1 3" "2 4"
logs=()
for number in 1 2 3 4; do logs+=("$number=$folder/models/$number/train.log"); done
best=$(cmlm-kd choose --best 2 --metric score "${logs[@]}" 2> >(tee "$folder/models/validation.txt" >&2))
read -r first second <<<"$best"
side_by_side make_teachers_of "$first" "$second"
find "$folder/models" "$folder/teachers" -name 'checkpoint*.pt' -delete

ensemble_of() { printf '%s:%s' "$folder/teachers/$1-$first-huggingface" "$folder/teachers/$1-$second-huggingface"; }
teachers=
for corpus in "${corpora[@]}"; do teachers=$teachers,$corpus=$(ensemble_of "$corpus"); done
teacher_outputs=$folder/distilled/teacher-outputs # of all settings
distilled_settings=("--lr 1e-4 --kd-mode paper" "--lr 2e-4 --kd-mode paper" "--lr 1e-4 --kd-mode original"
    "--lr 2e-4 --kd-mode original")
train_alone() { # FOLDER SEED SETTINGS
    step "Student of all tasks alone, $3, seed $2" "$1/train.log" train "$1" "$total" "$run/split" "${tasks[@]}" \
        --layers "$layers" --criterion sentence_classification $3 --seed "$2"
}
train_distilled() { # FOLDER SEED SETTINGS
    step "Student of all tasks by mtdnn, $3, seed $2" "$1/train.log" train "$1" "$total" "$run/split" "${tasks[@]}" \
        --layers "$layers" --criterion mtdnn_kd --teacher "${teachers#,}" \
        --teacher-cache "$teacher_outputs" $3 --seed "$2"
}
given_settings
side_by_side lane alone distilled
for corpus in "${corpora[@]}"; do report "$folder/$corpus$variant" "$corpus" "$(ensemble_of "$corpus")"; done
