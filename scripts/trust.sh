#!/usr/bin/env bash
# Kills, flipped bits, malformed inputs, odd surroundings and hostile files, over every command and reader (tests/trust).
# About 30 minutes on two quiet cores. What held at this commit already is not run again: after an interruption the same
# command goes on. It ends with "N of N". Arguments go to tests/trust/harness.py, such as --parts kill or --most 20.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -x .venv/bin/python ] || bash scripts/setup.sh
export OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec .venv/bin/python tests/trust/harness.py "$@"
