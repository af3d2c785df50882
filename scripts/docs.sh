#!/usr/bin/env bash
# Builds the documentation as a site, build/docs/index.html, and fails at a warning: a link that leads nowhere, a page in no
# table of contents, a docstring that cannot be read. Arguments go to sphinx-build, such as --fresh-env to read all anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -x .venv/bin/python ] || bash scripts/setup.sh
if ! .venv/bin/python -c 'import furo, myst_parser, sphinx' 2>/dev/null; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint requirements/constraints.txt \
        --editable '.[docs]' || { echo "docs.sh: pip could not install what the site needs; with a network, run this again" >&2 && exit 1; }
fi
export OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
.venv/bin/python -m sphinx --quiet --fail-on-warning --keep-going --conf-dir docs --doctree-dir build/doctrees "$@" . build/docs
echo "docs.sh: build/docs/index.html"
