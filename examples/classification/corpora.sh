# What depends on the corpus. Sourced, not run. Expects $data, the folder of all corpora or of the one, and $updates, of
# every training, empty for the corpus's own number.

data_of() { if [ -d "$data/$1" ]; then printf '%s' "$data/$1"; else printf '%s' "$data"; fi; }
reported_split() { case "$1" in SICK-*) printf test ;; *) printf valid ;; esac; }
metric_of() {
    case "$1" in
        CoLA) printf matthews ;;
        MRPC | QQP) printf f1 ;;
        STS-B | SICK-R) printf pearson ;;
        *) printf accuracy ;;
    esac
}
updates_of() { # with 32 examples each; a run of all methods on two corpora should end overnight on two cores
    if [ -n "$updates" ]; then
        printf '%d' "$updates"
        return
    fi
    case "$1" in
        RTE) printf 420 ;; # six epochs
        MRPC) printf 520 ;;
        SICK-*) printf 640 ;;
        STS-B) printf 810 ;;
        agnews) printf 850 ;; # three epochs of 9,000 texts
        CoLA) printf 960 ;;
        *) printf 1900 ;; # an epoch of SST-2
    esac
}
