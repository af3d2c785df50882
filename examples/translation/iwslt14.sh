#!/usr/bin/env bash
# Sets everything up and runs iwslt14.yaml; its settings are the options of this script.
. "$(dirname "${BASH_SOURCE[0]}")/../recipe.sh"
recipe translation/iwslt14.yaml "$@"
