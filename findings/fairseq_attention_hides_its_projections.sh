#!/usr/bin/env bash
# Package:  ve-fairseq 0.12.3 (fairseq 0.12) with torch 2.13.0
#
# Expected: MultiheadAttention projects queries and keys with its modules q_proj and k_proj, so that a hook on these sees
#           what they put out; before_softmax=True returns scores before the softmax, as its name and its code say.
# Happens:  without an incremental state the *weights* of the projections go to torch's multi_head_attention_forward. No
#           hook on q_proj or k_proj ever runs, and before_softmax is not looked at: what comes back is the output after
#           the softmax, in the place where scores would be.
# Meaning:  attention transfer (TinyBERT and its like) written with such hooks compares nothing, silently. Hook the
#           attention itself, and project what it reads once more.
#
# Output seen:
#   hooks that ran on q_proj, k_proj: 0
#   before_softmax=True returns a tensor of shape (5, 3, 8), scores have (6, 5, 5)
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 \
    hydra-core==1.3.8 omegaconf==2.3.1 sacrebleu==2.6.0 bitarray cffi cython regex tqdm scikit-learn packaging 'setuptools<81' numpy
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-deps ve-fairseq==0.12.3

cat > look.py <<'PYTHON'
import torch
from fairseq.modules import MultiheadAttention

attention = MultiheadAttention(8, 2, self_attention=True).eval()  # d, heads
runs = []
for projection in (attention.q_proj, attention.k_proj):
    projection.register_forward_hook(lambda *seen: runs.append(1))
states = torch.randn(5, 3, 8)  # (T, B, d)
found, _ = attention(states, states, states, before_softmax=True)
print(f"hooks that ran on q_proj, k_proj: {len(runs)}")
print(f"before_softmax=True returns a tensor of shape {tuple(found.shape)}, scores have (6, 5, 5)")
raise SystemExit(0 if not runs and tuple(found.shape) == (5, 3, 8) else "changed")
PYTHON
venv/bin/python look.py 2> /dev/null
