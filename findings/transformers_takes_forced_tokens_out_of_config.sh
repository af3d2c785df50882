#!/usr/bin/env bash
# Package:  transformers 5.23.0 with torch 2.13.0
#
# Expected: a model whose config.json has forced_bos_token_id (BART's, mBART's) shows it as model.config.forced_bos_token_id
#           after from_pretrained, as it did for years; and generate(forced_bos_token_id=None), like an argument that is
#           left out, does what the model says.
# Happens:  the setting is gone from model.config, without a warning, and stands in model.generation_config alone. Whoever
#           reads the old place finds nothing, and passes None on; None is no default: it switches the setting off, and the
#           model begins otherwise than it was trained to.
# Meaning:  read what concerns generation from model.generation_config, and leave arguments out that you have no value for.
#
# Output seen:
#   in config.json            0
#   model.config              gone
#   model.generation_config   0
#   generate()                begins with 2, 0
#   generate(None)            begins with 2, 5
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0

cat > compare.py <<'PYTHON'
import json
from pathlib import Path

import torch
from transformers import BartConfig, BartForConditionalGeneration

sizes = {f"{side}_{name}": 8 for side in ("encoder", "decoder") for name in ("ffn_dim",)}
sizes |= {f"{side}_{name}": 1 for side in ("encoder", "decoder") for name in ("layers", "attention_heads")}
model = BartForConditionalGeneration(BartConfig(vocab_size=8, d_model=8, max_position_embeddings=20, **sizes))
model.final_logits_bias[0, 5] = 1000.0  # what it would say by itself
model.save_pretrained("model")
config = json.loads(Path("model/config.json").read_text())
Path("model/config.json").write_text(json.dumps({**config, "forced_bos_token_id": 0}))
Path("model/generation_config.json").unlink()  # as directories of earlier years

model = BartForConditionalGeneration.from_pretrained("model").eval()
ids = torch.tensor([[0, 4, 2]])
plain = model.generate(ids, max_new_tokens=3, num_beams=1)[0, :2].tolist()
given = model.generate(ids, max_new_tokens=3, num_beams=1, forced_bos_token_id=None)[0, :2].tolist()
print(f"in config.json            {json.loads(Path('model/config.json').read_text())['forced_bos_token_id']}")
print(f"model.config              {getattr(model.config, 'forced_bos_token_id', 'gone')}")
print(f"model.generation_config   {model.generation_config.forced_bos_token_id}")
print(f"generate()                begins with {', '.join(map(str, plain))}")
print(f"generate(None)            begins with {', '.join(map(str, given))}")
assert not hasattr(model.config, "forced_bos_token_id") and model.generation_config.forced_bos_token_id == 0
assert plain == [2, 0] and given == [2, 5]
PYTHON
PYTHONWARNINGS=ignore venv/bin/python compare.py 2> log || { tail -20 log; exit 1; }
