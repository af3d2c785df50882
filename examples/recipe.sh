# What the scripts of the examples share: each sets the environment up and runs one recipe. Sourced, not run.
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 2
}

# recipe FILE [--NAME VALUE]... [-- FLAG...]: --NAME VALUE is --set NAME=VALUE, what follows -- is the setting flags;
# options of 'cmlm-kd run' stay what they are, such as --set A=1 B=2. --help prints what the recipe begins with.
recipe() {
    local file=$repository/examples/$1 arguments=() name
    shift
    while [ $# -gt 0 ]; do
        case "$1" in
            -h | --help) sed -n '/^#/!q;s/^# \{0,1\}//p' "$file" && exit ;;
            --dry-run) arguments+=("$1") && shift && continue ;;
            --) arguments+=(--set "flags=${*:2}") && break ;;
            --*) [ $# -gt 1 ] || die "$1 needs a value" ;;
            *) die "unknown option $1; see --help" ;;
        esac
        if [ "$1" = --set ]; then
            arguments+=("$1") && shift
            while [ $# -gt 0 ] && [[ $1 != --* ]]; do arguments+=("$1") && shift; done
            continue
        fi
        name=${1#--}
        case "$name=$2" in
            output=* | until=* | lanes=*) arguments+=("$1" "$2") ;;
            method=all) ;; # what the recipe does by itself
            method=*) arguments+=(--set "methods=$2") ;;
            corpus=*) arguments+=(--set "corpora=$2") ;;
            name=*) arguments+=(--set "student_name=$2") ;;
            *) arguments+=(--set "${name//-/_}=$2") ;;
        esac
        shift 2
    done
    bash "$repository/scripts/setup.sh"
    exec "$repository/.venv/bin/cmlm-kd" run "$file" "${arguments[@]}"
}
