# What the scripts of classification share: settings chosen on the held-out tenth, and tables. Sourced, not run.
# Expects examples/steps.sh.

# lane alone|distilled: train with each of the method's settings and the first seed, choose on the held-out tenth, train
# with the other seeds what was chosen. Leaves FOLDER/best@SEED.pt and FOLDER/chosen.txt.
# Expects: train_alone and train_distilled (FOLDER, SEED, SETTINGS), the arrays alone_settings and distilled_settings,
# alone_folder and distilled_folder, $metric, the array seeds.
lane() {
    local kind=$1 position chosen seed logs=() folder settings
    local -n all="${1}_settings"
    folder=${1}_folder
    folder=${!folder}
    for position in "${!all[@]}"; do
        "train_$kind" "$folder/$position@${seeds[0]}" "${seeds[0]}" "${all[position]}"
        logs+=("$position=$folder/$position@${seeds[0]}/train.log")
    done
    chosen=$(cmlm-kd choose --metric "$metric" "${logs[@]}" 2> >(tee "$folder/validation.txt" >&2))
    settings=${all[chosen]}
    printf '%s\n' "$settings" >"$folder/chosen.txt"
    for seed in "${seeds[@]:1}"; do "train_$kind" "$folder/$chosen@$seed" "$seed" "$settings"; done
    for seed in "${seeds[@]}"; do ln -sfn "$chosen@$seed/checkpoint_best.pt" "$folder/best@$seed.pt"; done
    find "$folder" -name 'checkpoint*.pt' ! -path "$folder/$chosen@*" -delete # the logs stay
}

# report FOLDER CORPUS TEACHER: measure on data that nothing was chosen on, and print the table.
report() {
    local corpus=$2 seed models=("teacher=$3") folder
    folder=$1/seeds-$(IFS=- && printf '%s' "${seeds[*]}")
    for seed in "${seeds[@]}"; do
        models+=("alone@$seed=$alone_folder/best@$seed.pt")
    done
    for seed in "${seeds[@]}"; do
        models+=("distilled@$seed=$distilled_folder/best@$seed.pt")
    done
    step "$method, $corpus: measure" "$folder/results.json" cmlm-kd evaluate "$(data_of "$corpus")" --corpus "$corpus" \
        --split "$(reported_split "$corpus")" --model "${models[@]}" --predictions "$folder/predictions" \
        --format json --output "$folder/results.json"
    say "$method, $corpus"
    {
        cmlm-kd compare-seeds "$folder/results.json" --predictions "$folder/predictions" --baseline alone \
            --metric "$(metric_of "$corpus")"
        printf 'alone: %s\n' "$(cat "$alone_folder/chosen.txt")"
        printf 'distilled: %s\n' "$(cat "$distilled_folder/chosen.txt")"
    } | tee "$folder/report.txt"
}
