#!/usr/bin/env bash
# Package:  torch 2.13.0
#
# Expected: torch.save writes a ZIP archive with a CRC-32 of each record, so torch.load refuses a file with a changed bit.
# Happens:  it loads, with another number in the tensor, whether memory-mapped or not and with weights_only=True. The
#           checksums in the archive are right, and Python's zipfile finds the record at once.
# Meaning:  a checkpoint that a disk or a copy has damaged trains, translates and is averaged as if nothing had happened.
#           zipfile.ZipFile(path).testzip() before loading costs one reading of the file.
#
# Output seen:
#   mmap=False: loaded, 1 of 1000 numbers differs
#   mmap=True: loaded, 1 of 1000 numbers differs
#   zipfile: saved/data/0
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cat > flipped.py <<'PYTHON'
import zipfile
from pathlib import Path

import torch

numbers = torch.arange(1000, dtype=torch.float32)
path = Path("saved.pt")
torch.save({"weight": numbers}, path)
content = bytearray(path.read_bytes())
raw = numbers.numpy().tobytes()
content[content.index(raw) + len(raw) // 2 + 2] ^= 1
path.write_bytes(content)
for mapped in (False, True):
    found = torch.load(path, weights_only=True, mmap=mapped)["weight"]
    changed = int((found != numbers).sum())
    print(f"mmap={mapped}: loaded, {changed} of {len(numbers)} numbers differs")
    assert changed == 1
record = zipfile.ZipFile(path).testzip()
print("zipfile:", record)
assert record == "saved/data/0"
PYTHON
venv/bin/python flipped.py 2>/dev/null || { echo "torch has changed: see the assertions in the script" >&2; exit 1; }
