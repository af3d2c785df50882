#!/usr/bin/env bash
# Package:  transformers 5.23.0 with torch 2.13.0
#
# Expected: use_cache decides what a decoder's forward pass keeps, not what it says; no attention_mask means the same as
#           a mask of ones; and position_ids say where a token stands, not which other tokens it sees.
# Happens:  where position_ids begin anew within a row and there is no attention_mask, the row is taken for several
#           sequences that do not see each other, if use_cache is False. With use_cache=True, and with a mask of ones,
#           every token sees all before it. So the same call has other logits with and without the cache; and positions
#           counted from a mask of left padding hide the padding by themselves, in the first case alone.
# Meaning:  a teacher's log-probabilities depend on use_cache as soon as several texts stand in a row. Give the mask
#           always, and a mask of blocks where rows are packed.
#
# Output seen:
#   LlamaForCausalLM: the second text equals itself alone: no mask True, mask of ones False, use_cache False
#   Qwen2ForCausalLM: the second text equals itself alone: no mask True, mask of ones False, use_cache False
#   GPT2LMHeadModel: the second text equals itself alone: no mask True, mask of ones False, use_cache False
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0

cat > packed.py <<'PYTHON'
import torch
import transformers as hf

sizes = dict(vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2)
kinds = [
    (hf.LlamaForCausalLM, hf.LlamaConfig(**sizes)),
    (hf.Qwen2ForCausalLM, hf.Qwen2Config(**sizes, num_key_value_heads=2)),
    (hf.GPT2LMHeadModel, hf.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2)),
]
row = torch.tensor([[5, 6, 7, 8, 9, 10]])  # two texts of three tokens
positions = torch.tensor([[0, 1, 2, 0, 1, 2]])
for kind, config in kinds:
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        alone = model(row[:, 3:], use_cache=False).logits
        found = [
            model(row, position_ids=positions, **more).logits[:, 3:]
            for more in ({"use_cache": False}, {"use_cache": False, "attention_mask": row * 0 + 1}, {"use_cache": True})
        ]
    equal = [torch.allclose(logits, alone, atol=1e-5) for logits in found]
    print(
        f"{kind.__name__}: the second text equals itself alone: no mask {equal[0]}, mask of ones {equal[1]}, "
        f"use_cache {equal[2]}"
    )
    assert equal == [True, False, False]
PYTHON
venv/bin/python packed.py 2>/dev/null || { echo "transformers has changed: see the assertion in the script" >&2; exit 1; }
