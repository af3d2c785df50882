#!/usr/bin/env bash
# Makes .venv ready for this checkout; does nothing when it already is.
#   PYTHON=/path/to/python3.12 bash scripts/setup.sh     chooses the interpreter
# A torch that the chosen Python (or an existing .venv) already has is kept when it fits pyproject.toml's range.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv
python=$venv/bin/python
stamp=$venv/cmlm-kd-setup.stamp
log=$venv/pip.log
constraints=requirements/constraints.txt
torch_range=$(sed -n 's/.*"\(torch>=[^"]*\)".*/\1/p' pyproject.toml)
torch_pinned="torch==2.13.0"
fairseq="ve-fairseq==0.12.3"
export PIP_RETRIES=${PIP_RETRIES:-2} # at least 1: pip names the network only when it retries

say() { printf 'setup.sh: %s\n' "$*"; }
fail() {
    printf 'setup.sh: %s\n' "$*" >&2
    exit 1
}

python_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
is_supported() { [ "$1" = 3.11 ] || [ "$1" = 3.12 ]; }

find_python() {
    local candidate version
    if [ -n "${PYTHON:-}" ]; then
        version=$(python_version "$PYTHON") || fail "PYTHON=$PYTHON does not run"
        is_supported "$version" || fail "PYTHON=$PYTHON is Python $version; cmlm-kd needs Python 3.11 or 3.12"
        printf '%s\n' "$PYTHON"
        return
    fi
    for candidate in python3 python3.12 python3.11 python; do
        version=$(python_version "$candidate") || continue
        if is_supported "$version"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or 3.12 found; install one, or name it: PYTHON=/path/to/python3.12 bash scripts/setup.sh"
}

# Does the torch of interpreter $1 import, and does its version fit the range?
has_fitting_torch() {
    "$1" - "$torch_range" 2>/dev/null <<'PYTHON_CODE'
import sys

import torch
from pip._vendor.packaging.requirements import Requirement

version = torch.__version__.split("+")[0]
sys.exit(not Requirement(sys.argv[1]).specifier.contains(version))
PYTHON_CODE
}

make_venv() {
    local base options=()
    base=$(find_python)
    # What a virtual environment has cannot be seen from another one, only what its base has.
    if "$base" -c 'import sys; sys.exit(sys.prefix != sys.base_prefix)' && has_fitting_torch "$base"; then
        say "keeping the torch of $base"
        options=(--system-site-packages)
    fi
    say "making $venv with Python $(python_version "$base")"
    "$base" -m venv "${options[@]}" "$venv" >/dev/null 2>&1 ||
        fail "'$base -m venv $venv' failed; on Debian and Ubuntu install the package python3-venv"
}

install() {
    : >"$log"
    "$python" -m pip install --quiet --disable-pip-version-check --log "$log" "$@" 2>"$log.err" && return
    if grep -Eiq 'NewConnectionError|NameResolutionError|name resolution|unreachable|refused|ProxyError|timed out' "$log"; then
        fail "no network: pip could not download what '$*' needs (details in $log)"
    fi
    cat "$log.err" >&2
    fail "'pip install $*' failed (details in $log)"
}

wanted() { printf '%s %s\n' "$PWD" "$(cat setup.py pyproject.toml "$constraints" scripts/setup.sh cmlm_kd/version.py | cksum)"; }

prepare() {
    if [ -f "$stamp" ] && ! grep -qF "$PWD " "$stamp"; then
        say "the folder has moved since $venv was made: making it anew"
        rm -rf "$venv"
    fi
    [ -x "$python" ] && "$python" -m pip --version >/dev/null 2>&1 || make_venv
    if ! has_fitting_torch "$python"; then
        say "installing $torch_pinned (a large download)"
        install "$torch_pinned"
    fi
    say "installing cmlm-kd and what it needs"
    install --constraint "$constraints" --editable '.[dev]'
    install --no-deps "$fairseq"
    "$venv/bin/cmlm-kd" user-dir --link >/dev/null
    "$venv/bin/cmlm-kd" doctor --quiet || exit 1
    wanted >"$stamp"
    say "ready: $venv/bin/cmlm-kd, $venv/bin/fairseq-train"
}

if [ -x "$python" ]; then
    version=$(python_version "$python" || echo "none that runs")
    is_supported "$version" || fail "$venv holds Python $version; cmlm-kd needs 3.11 or 3.12: remove $venv and run again"
    if [ -n "${PYTHON:-}" ]; then
        base=$(find_python)
        [ "$(python_version "$base")" = "$version" ] ||
            fail "$venv holds Python $version, PYTHON=$base is another one: remove $venv and run again"
    fi
fi
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$(wanted)" ]; then
    prepare
elif ! "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torchaudio") is not None)'; then
    "$venv/bin/cmlm-kd" doctor --quiet || exit 1 # a torchaudio that arrived later may have broken transformers
fi
