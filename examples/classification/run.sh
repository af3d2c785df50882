#!/usr/bin/env bash
# Sets everything up and runs students.yaml; its settings are the options of this script.
. "$(dirname "${BASH_SOURCE[0]}")/../recipe.sh"
recipe classification/students.yaml "$@"
