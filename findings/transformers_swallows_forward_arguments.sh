#!/usr/bin/env bash
# Package:  transformers 5.23.0 with torch 2.13.0
#
# Expected: an argument that a model's forward does not have is a TypeError, and output_attentions=True gives one
#           tensor per layer, or an error where the attention implementation cannot.
# Happens:  BERT and DistilBERT accept any keyword. "attn_mask" for "attention_mask" runs without a mask and equals the
#           call without one; "label" for "labels" gives no loss. output_attentions=True with the default
#           implementation (sdpa) gives an empty tuple of attentions: one line is logged, and the call succeeds. Setting
#           it in the configuration afterwards does raise (ValueError).
# Meaning:  attention transfer written with zip(teacher.attentions, student.attentions) sums over nothing: the loss is
#           0 and training goes on. Padding takes part in the teacher's soft targets when the mask is misspelt. Load
#           with attn_implementation="eager" where attentions are needed, and assert their number.
#
# Output seen:
#   BertModel        attn_mask: equal to no mask True, equal to attention_mask False
#   DistilBertModel  attn_mask: equal to no mask True, equal to attention_mask False
#   BertForMaskedLM  label: loss None
#   sdpa             attentions () transfer loss 0
#   eager            attentions of 2 layers, transfer loss above 0
#   sdpa             config.output_attentions = True: ValueError
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0

cat > forward.py <<'PYTHON'
import torch
import transformers as hf

hf.logging.set_verbosity_error()
torch.manual_seed(0)
bert = dict(vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
distilbert = dict(vocab_size=30, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
tokens = torch.tensor([[5, 6, 7, 0, 0]])  # (sentences, tokens); two of padding
mask = (tokens != 0).long()

for model in (hf.BertModel(hf.BertConfig(**bert)), hf.DistilBertModel(hf.DistilBertConfig(**distilbert))):
    model.eval()
    with torch.no_grad():
        bare = model(tokens).last_hidden_state
        right = model(tokens, attention_mask=mask).last_hidden_state
        misspelt = model(tokens, attn_mask=mask).last_hidden_state
    no_mask, masked = torch.equal(misspelt, bare), torch.allclose(misspelt, right)
    print(f"{type(model).__name__:<16} attn_mask: equal to no mask {no_mask}, equal to attention_mask {masked}")
    assert no_mask and not masked

masked_lm = hf.BertForMaskedLM(hf.BertConfig(**bert))
print(f"{type(masked_lm).__name__:<16} label: loss", masked_lm(tokens, label=tokens).loss)
assert masked_lm(tokens, label=tokens).loss is None and masked_lm(tokens, labels=tokens).loss is not None


def attentions(kind):
    """Attentions of a teacher and a student, and the sum over the layers of their mean squared differences."""
    options = {} if kind == "sdpa" else {"attn_implementation": kind}
    pair = [hf.BertModel(hf.BertConfig(**bert, **options)).eval() for _ in range(2)]
    assert all(model.config._attn_implementation == kind for model in pair)
    teacher, student = (model(tokens, attention_mask=mask, output_attentions=True).attentions for model in pair)
    return teacher, sum(((left - right) ** 2).mean() for left, right in zip(teacher, student))


given, loss = attentions("sdpa")
print(f"{'sdpa':<16} attentions {given} transfer loss {loss}")
assert given == () and loss == 0
given, loss = attentions("eager")
print(f"{'eager':<16} attentions of {len(given)} layers, transfer loss {'above 0' if loss > 0 else loss}")
assert len(given) == 2 and loss > 0
try:
    hf.BertModel(hf.BertConfig(**bert)).config.output_attentions = True
except ValueError as error:
    print(f"{'sdpa':<16} config.output_attentions = True: {type(error).__name__}")
else:
    raise AssertionError("the configuration accepts output_attentions")
PYTHON
venv/bin/python forward.py
