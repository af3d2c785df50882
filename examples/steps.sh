# What the scripts of all examples share: steps that are done once, and trainings side by side. Sourced, not run.
# Expects: $caller, the folder that the user is in.

say() { printf '\n== %s\n' "$*"; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 2
}

# Paths are the caller's; scripts work in the repository's root.
absolute() { if [ -e "$caller/$1" ] && [ "${1#/}" = "$1" ]; then printf '%s/%s' "$caller" "$1"; else printf '%s' "$1"; fi; }

# set_up: install what is missing and find it. Leaves $cpu, empty where there is a GPU.
set_up() {
    bash scripts/setup.sh
    export PATH=$PWD/.venv/bin:$PATH TOKENIZERS_PARALLELISM=false
    # glibc gives big blocks back to the kernel and faults them in again at every step; keep them instead.
    export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000:glibc.malloc.top_pad=67108864}
    cpu=$(python -c 'import torch; print("" if torch.cuda.is_available() else "--cpu")')
}

# step TITLE OUTPUT COMMAND...: run a command unless the same command has already finished; notes how long it took. Expects
# $run, the output folder.
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
