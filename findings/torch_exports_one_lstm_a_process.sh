#!/usr/bin/env bash
# Package:  torch 2.13.0 with onnx 1.23.2 and onnxscript 0.7.2
#
# Expected: torch.onnx.export of a model with an LSTM, its length declared free, gives the same graph however often it is
#           called in a process.
# Happens:  the first call in a process works; every later one, of the same model or of another with an LSTM, is refused because
#           "tracing inferred a static shape" for the length. A new process exports the refused model. torch puts a loop over time
#           in the place of LSTM's kernel while it exports (torch/export/_patches.py), and after the first export that
#           no longer takes effect. Clearing the operator's dispatch cache, torch.compiler.reset() and
#           FakeTensorMode.cache_clear() do not help.
# Meaning:  export each model with an LSTM in a process of its own; a test of one export says nothing about the second.
#
# Output seen:
#   process 1: first exported, second refused
#   process 2: second exported
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 numpy

cat > export.py <<'PYTHON'
import contextlib
import io
import sys

import torch
from torch import nn


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, ids):
        return self.lstm(self.words(ids))[0]


free = torch.export.Dim.DYNAMIC
said = []
for name in sys.argv[2:]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(
                Reader().eval(),
                (torch.ones(3, 7, dtype=torch.long),),
                f"{name}.onnx",
                dynamo=True,
                verbose=False,
                dynamic_shapes=({0: free, 1: free},),
            )
        said.append(f"{name} exported")
    except torch.onnx.errors.OnnxExporterError as error:
        if "tracing inferred a static shape" not in str(error):
            raise
        said.append(f"{name} refused")
print(f"process {sys.argv[1]}: {', '.join(said)}")
PYTHON
{ venv/bin/python export.py 1 first second; venv/bin/python export.py 2 second; } 2> log.txt | tee seen.txt
printf 'process 1: first exported, second refused\nprocess 2: second exported\n' | cmp - seen.txt
