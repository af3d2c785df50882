#!/usr/bin/env bash
# Sets everything up and runs pretraining.yaml; its settings are the options of this script.
. "$(dirname "${BASH_SOURCE[0]}")/../recipe.sh"
recipe pretraining/pretraining.yaml "$@"
