#!/usr/bin/env bash
# Every bound of the project in one table; flags are those of benchmarks/table.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-.venv/bin/python}"
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" exec "$python" benchmarks/table.py "$@"
