#!/usr/bin/env bash
# Sets everything up, then format, lint, types, imports and tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
bin=.venv/bin
# The tests' tensors are tiny: threads would only wait for each other.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false
"$bin/ruff" format --check .
"$bin/ruff" check .
"$bin/mypy"
PYTHONPATH=$PWD "$bin/lint-imports" --no-logo # of this checkout, whatever is installed
# A file's tests share what is dear to make, so they stay with one worker.
"$bin/python" -m pytest -n "$(env -u OMP_NUM_THREADS nproc)" --dist loadfile "$@"
