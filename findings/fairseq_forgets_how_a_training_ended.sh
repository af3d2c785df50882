#!/usr/bin/env bash
# Package:  ve-fairseq 0.12.3 (fairseq 0.12), fairseq_cli/train.py, with torch 2.13.0
#
# Expected: the command of a training that has ended changes nothing, and one that was interrupted ends where it would
#           have ended without that.
# Happens:  --max-update is compared with the updates after one was made: given again to a training that has ended, the same
#           command makes one more and writes checkpoint_last.pt anew, and one more each time. How many validations running
#           were no better is counted in an attribute of a function and in no checkpoint: --patience begins anew with each
#           start, so that a training that is interrupted often enough never ends by it.
# Meaning:  "run it again until it is done", as schedulers do with jobs that may be preempted, trains too long, at the end of
#           the learning rate's schedule, and gives another model each time. Look at the updates in the checkpoint before
#           starting again, and count the validations outside.
#
# Output seen:
#   --max-update 4, started three times: 4 5 6 updates
#   --patience 3, never better: it ends after 4 updates; interrupted after 3, it ends after 7
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 \
    hydra-core==1.3.8 omegaconf==2.3.1 sacrebleu==2.6.0 bitarray cffi cython regex tqdm scikit-learn packaging 'setuptools<81' numpy
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-deps ve-fairseq==0.12.3

for line in $(seq 24); do echo "word$((line % 5)) word$((line % 7)) end"; done > train.de
cp train.de train.en
head -n 6 train.de | tee valid.de > valid.en
venv/bin/fairseq-preprocess -s de -t en --trainpref train --validpref valid --destdir data > preprocess.log 2>&1

# Since torch 2.6 checkpoints of fairseq are loaded only so; these are our own.
export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1

# Trains and says how many updates the last checkpoint has.
train() {
    local saved=$1
    shift
    venv/bin/fairseq-train data --arch transformer_iwslt_de_en --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 8 \
        --decoder-embed-dim 8 --encoder-ffn-embed-dim 8 --decoder-ffn-embed-dim 8 --encoder-attention-heads 1 \
        --decoder-attention-heads 1 --optimizer sgd --batch-size 8 --required-batch-size-multiple 1 \
        --cpu --num-workers 0 --save-dir "$saved" \
        --no-epoch-checkpoints "$@" > train.log 2>&1 || { cat train.log >&2; exit 1; }
    venv/bin/python -c "
import sys, torch
state = torch.load(sys.argv[1], weights_only=False)
print(state['optimizer_history'][-1]['num_updates'])" "$saved/checkpoint_last.pt"
}

ended=()
for _ in 1 2 3; do ended+=("$(train ended --lr 0.1 --max-update 4)"); done
echo "--max-update 4, started three times: ${ended[*]} updates"

# With a learning rate of 0 the first validation is the best for ever.
never_better=(--lr 0 --patience 3 --validate-interval-updates 1 --save-interval-updates 1 --keep-interval-updates 1 --validate-interval 1000)
whole=$(train whole "${never_better[@]}" --max-update 50)
train interrupted "${never_better[@]}" --max-update 3 > first.log
interrupted=$(train interrupted "${never_better[@]}" --max-update 50)
echo "--patience 3, never better: it ends after $whole updates; interrupted after 3, it ends after $interrupted"
[ "${ended[*]}" = "4 5 6" ] && [ "$whole $interrupted" = "4 7" ] || { echo "the behaviour has changed"; exit 1; }
