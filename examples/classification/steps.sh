# What run.sh and its methods share: steps that are done once, and trainings side by side. Sourced, not run.
# Expects: $run, the output folder; $cpu, empty where there is a GPU.

say() { printf '\n== %s\n' "$*"; }
die() {
    printf 'run.sh: %s\n' "$*" >&2
    exit 2
}

# step TITLE OUTPUT COMMAND...: run a command unless the same command has already finished; notes how long it took.
step() {
    local title=$1 result=$2 stamp begun=$SECONDS
    shift 2
    stamp=${result#"$run/"}
    stamp=$run/.steps/${stamp//\//-}
    mkdir -p "$run/.steps" "$(dirname "$result")"
    if [ -e "$result" ] && [ -f "$stamp" ]; then
        [ "$(cat "$stamp")" = "$*" ] || die "$result was made by another command; remove it or choose another --output"
        say "$title: already there"
        return
    fi
    say "$title"
    "$@"
    printf '%s\n' "$*" >"$stamp"
    printf '%d s\t%s\n' "$((SECONDS - begun))" "$title" >>"$run/times.txt"
}

# side_by_side FUNCTION FIRST SECOND: call it with both names; on a CPU at the same time with half of the threads each,
# since models as small as these use one thread much better than two.
beside=
trap '[ -z "$beside" ] || kill -- "-$beside" 2>/dev/null || true' EXIT
side_by_side() {
    local threads=$(($(nproc) / 2))
    if [ -z "$cpu" ] || [ "$threads" -lt 1 ]; then
        "$1" "$2"
        "$1" "$3"
        return
    fi
    set -m # a process group of its own, so that an interruption can end all of it
    OMP_NUM_THREADS=$threads "$1" "$3" 2> >(sed -u "s/^/$3: /" >&2) > >(sed -u "s/^/$3: /") &
    beside=$!
    set +m
    OMP_NUM_THREADS=$threads "$1" "$2"
    wait "$beside" || die "'$1 $3' failed; its messages are above"
    beside=
}

# quietly: leave out what fairseq says of a model's every layer; errors go to standard error.
quietly() { grep --line-buffered -e 'valid on' -e 'asking the teachers' || true; }

# train DIR UPDATES FLAGS...: fairseq-train with what all trainings share; DIR/train.log stays, and one checkpoint:
# the best on validation, or the last where there is no validation.
train() {
    local folder=$1 most=$2 kept=checkpoint_best.pt
    shift 2
    case " $* " in *" --disable-validation "*) kept=checkpoint_last.pt ;; esac
    mkdir -p "$folder"
    PYTHONWARNINGS=ignore fairseq-train "$@" --user-dir fairseq_plugins --save-dir "$folder" --max-update "$most" \
        --required-batch-size-multiple 1 --num-workers 0 --log-interval 50 --log-file "$folder/train.log" \
        --log-format simple --no-epoch-checkpoints --save-interval 1000000 --validate-interval 1000000 \
        --save-interval-updates $(((most + 7) / 8)) --keep-interval-updates 1 $cpu | quietly
    find "$folder" -name 'checkpoint*.pt' ! -name "$kept" -delete
}

# schedule UPDATES: learning rate rising for a tenth of a training, then falling to zero.
schedule() { printf -- '--lr-scheduler polynomial_decay --warmup-updates %d --total-num-update %d' $(($1 / 10)) "$1"; }

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
