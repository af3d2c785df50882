#!/usr/bin/env bash
# Package:  transformers 5.23.0 with torch 2.13.0
#
# Expected: AutoModelForMaskedLM.from_pretrained loads the masked-LM head of a DeBERTa as its authors publish it: weights under
#           "lm_predictions.lm_head", no word of the head's form in config.json. get_output_embeddings() returns the layer
#           that makes logits over the vocabulary, as for every other architecture.
# Happens:  without an entry "legacy" in the configuration transformers builds the older form of the head, "cls.predictions",
#           finds none of its weights and leaves them random; the published head is listed as unexpected. Masks are then filled
#           by chance, with exit status 0. With "legacy": false the head is loaded, but get_output_embeddings() returns its
#           inner dense layer, hidden size by hidden size: who multiplies features by it, or resizes or ties it, gets another
#           shape or other numbers.
# Meaning:  compare unexpected keys with "lm_predictions" after loading, and load again with legacy=False; take the input
#           embeddings and lm_predictions.lm_head.bias for the output layer.
#
# Output seen:
#   DebertaForMaskedLM    as published: head loaded False   legacy=False: head loaded True, output embeddings (16, 16)
#   DebertaV2ForMaskedLM  as published: head loaded False   legacy=False: head loaded True, output embeddings (16, 16)
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0

cat > heads.py <<'PYTHON'
import json
from pathlib import Path

import torch
import transformers as hf

hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()
size = dict(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
tokens = torch.randint(3, 30, (2, 8))  # (sentences, tokens)
for kind in ("deberta", "deberta-v2"):
    torch.manual_seed(0)
    model = hf.AutoModelForMaskedLM.from_config(hf.AutoConfig.for_model(kind, legacy=False, **size)).eval()
    torch.nn.init.normal_(model.lm_predictions.lm_head.bias)
    model.save_pretrained(kind)
    described = json.loads(Path(kind, "config.json").read_text())
    described.pop("legacy")  # as it is published
    Path(kind, "config.json").write_text(json.dumps(described))
    results = {}
    for name, more in (("published", {}), ("legacy", {"legacy": False})):
        config = hf.AutoConfig.from_pretrained(kind, **more)
        loaded = hf.AutoModelForMaskedLM.from_pretrained(kind, config=config).eval()
        with torch.no_grad():
            same = torch.allclose(loaded(input_ids=tokens).logits, model(input_ids=tokens).logits, atol=1e-5)
        results[name] = same, loaded
    shape = tuple(results["legacy"][1].get_output_embeddings().weight.shape)
    print(
        f"{type(model).__name__:<21} as published: head loaded {results['published'][0]}   "
        f"legacy=False: head loaded {results['legacy'][0]}, output embeddings {shape}"
    )
    assert not results["published"][0] and results["legacy"][0] and shape == (16, 16)
PYTHON
venv/bin/python heads.py
