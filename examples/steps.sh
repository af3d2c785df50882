# What the scripts of all examples share: options, steps that are done once, and trainings side by side. Sourced, not run,
# before the script changes its folder. Leaves $caller, the folder that the user is in, and $repository.
caller=$PWD
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '\n== %s\n' "$*"; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 2
}

# parse_options "--NAME..." "$@": put the value of --word-vectors into $word_vectors, and so on. --help prints the comment
# that the script begins with. Where -- is among the names, what follows it is left in the array rest.
parse_options() {
    local known=" $1 -h --help " variable
    shift
    while [ $# -gt 0 ]; do
        [[ $1 =~ ^-[a-z-]+$ && $known == *" $1 "* ]] || die "unknown option $1; see --help"
        case "$1" in
            -h | --help)
                (cd "$caller" && sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p;}' "$0")
                exit
                ;;
            --)
                rest=("${@:2}")
                return
                ;;
        esac
        [ $# -gt 1 ] || die "$1 needs a value"
        variable=${1#--}
        printf -v "${variable//-/_}" '%s' "$2"
        shift 2
    done
}

# Checks of options, by the names of their variables.
required() {
    local name
    for name in "$@"; do [ -n "${!name}" ] || die "--${name//_/-} is missing; see --help"; done
}
whole_number() { # NAME [above NUMBER]
    [[ ${!1} =~ ^[0-9]+$ ]] && [ "${!1}" -gt "${3:--1}" ] ||
        die "--${1//_/-} is '${!1}'; it must be a whole number${2:+ above $3}"
}
whole_numbers() { # NAME: a list with commas
    [[ ${!1} =~ ^[0-9]+(,[0-9]+)*$ ]] || die "--${1//_/-} is '${!1}'; give whole numbers, such as 1,2,3"
}

number() { # NAME RANGE CONDITION: a number; the condition is awk's, on x
    [[ ${!1} =~ ^[0-9]*\.?[0-9]+$ ]] && awk -v "x=${!1}" "BEGIN { exit !($3) }" ||
        die "--${1//_/-} is '${!1}'; it must be a number $2"
}

# absolute NAME...: paths are the caller's, where they exist; scripts work in the repository's root.
absolute() {
    local name
    for name in "$@"; do
        case "${!name}" in
            '' | /*) ;;
            *) [ ! -e "$caller/${!name}" ] || printf -v "$name" '%s' "$caller/${!name}" ;;
        esac
    done
}

# find_device: leave $cpu, a flag that is empty where there is a GPU, and $autocast, another, which is empty on a CPU that
# bfloat16 would slow down.
find_device() {
    { read -r cpu && read -r autocast; } < <(python -c '
import torch
from cmlm_kd.system.devices import autocast_pays
gpu = torch.cuda.is_available()
print("" if gpu else "--cpu")
print("--bf16-autocast" if autocast_pays("cuda" if gpu else "cpu") else "")') || die "torch does not work; see cmlm-kd doctor"
}

# set_up FOLDER: install what is missing and find it; make the output folder, FOLDER unless --output names another. Leaves
# $run, that folder, and what find_device leaves.
set_up() {
    case "$output" in
        '') run=$1 ;;
        *) run=$(cd "$caller" && realpath -m -s -- "$output") ;; # ./a and a are one folder
    esac
    bash scripts/setup.sh
    export PATH=$PWD/.venv/bin:$PATH TOKENIZERS_PARALLELISM=false
    # glibc gives big blocks back to the kernel and faults them in again at every step; keep them instead.
    export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000:glibc.malloc.top_pad=67108864}
    find_device
    mkdir -p "$run"
}

# same_command A B: whether they differ in nothing but how they write paths: relative to this folder, with ./ or ../.
same_command() { [ "$(plain_paths "$1")" = "$(plain_paths "$2")" ]; }
plain_paths() {
    local text
    text=$(sed -E ':again; s#/(\./|/)#/#g; s#/[^/ ]+/\.\./#/#; t again; s#(^|[ =:])(\./)+#\1#g' <<<"$1")
    printf '%s' "${text//"$PWD/"/}"
}

# files_of OUTPUT: the files of a step, each with its size. is_whole OUTPUT LIST: none of the list is missing or shorter
# than it was; later steps may add to an output.
files_of() { find -L "$1" -type f -printf '%s %P\n'; }
is_whole() {
    local size name
    while read -r size name; do
        name=$1${name:+/$name}
        [ -f "$name" ] && [ "$(stat -L -c %s "$name")" -ge "$size" ] || return 1
    done <"$2"
}

# step TITLE OUTPUT COMMAND...: run a command unless the same command has already finished and all files of its output are
# still there; a damaged output is put aside. Notes how long it took. Expects $run, the output folder.
step() {
    local title=$1 result=$2 stamp begun=$SECONDS
    shift 2
    stamp=${result#"$run/"}
    stamp=$run/.steps/${stamp//\//-}
    mkdir -p "$run/.steps" "$(dirname "$result")"
    if [ -e "$result" ] && [ -f "$stamp" ]; then
        same_command "$(cat "$stamp")" "$*" || die "$result was made by another command; remove it or choose another --output"
        if [ -n "${checks_itself:-}" ] || [ ! -f "$stamp.files" ] || is_whole "$result" "$stamp.files"; then
            say "$title: already there"
            [ -z "${checks_itself:-}" ] || "$@"
            return
        fi
        say "$title: again, files are missing or cut off; what is left of them is in $result.damaged"
        rm -rf -- "$result.damaged"
        mv -- "$result" "$result.damaged"
    else
        say "$title"
    fi
    "$@"
    printf '%s\n' "$*" >"$stamp"
    files_of "$result" >"$stamp.files"
    printf '%d s\t%s\n' "$((SECONDS - begun))" "$title" >>"$run/times.txt"
}

# checked_step TITLE OUTPUT COMMAND...: a step whose command compares what is there with checksums, and mends or refuses
# it; it is called each time.
checked_step() {
    local checks_itself=yes
    step "$@"
}

# with_log LOG COMMAND...: standard error goes to LOG; if the command fails, the end of it is shown.
with_log() {
    local log=$1 status=0
    shift
    "$@" 2>"$log" || status=$?
    [ "$status" = 0 ] && return
    tail -n 5 "$log" >&2
    die "$1 failed with status $status; all that it said is in $log"
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
