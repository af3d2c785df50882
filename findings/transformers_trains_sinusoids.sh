#!/usr/bin/env bash
# Package:  transformers 5.23.0 with torch 2.13.0
#
# Expected: position encodings that the configuration calls sinusoidal are a constant of the architecture. Training
#           leaves them alone, as it does in fairseq and, here, in Marian.
# Happens:  in DistilBERT (sinusoidal_pos_embds=True), XLM and FlauBERT (sinusoidal_embeddings=True) and FSMT (the
#           translation models of fairseq's WMT19) the table is a parameter with requires_grad=True; an optimiser over
#           model.parameters() moves it. FSMT goes one further: a sentence longer than max_position_embeddings makes
#           the table anew from the formula, in the middle of a forward pass, and the trained one is gone: the model
#           then answers an old input differently.
# Meaning:  a student distilled with sinusoids no longer has them: exporters that compute the table from the formula
#           change the model. A fine-tuned FSMT translates the same sentence in two ways, depending on whether a long
#           sentence came before. Set requires_grad_(False) on the table before the optimiser is made.
#
# Output seen (largest change of the table in 50 steps of AdamW):
#   Marian      trainable False  moved 0.000
#   DistilBERT  trainable True   moved 0.378
#   XLM         trainable True   moved 0.401
#   FlauBERT    trainable True   moved 0.447
#   FSMT        trainable True   moved 0.228
#   FSMT, the same input before and after a sentence of 40 tokens: logits differ by 0.146
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0

cat > sinusoids.py <<'PYTHON'
import torch
import transformers as hf

hf.logging.set_verbosity_error()
torch.manual_seed(0)
xlm = dict(
    vocab_size=30, emb_dim=16, n_layers=1, n_heads=2, max_position_embeddings=32, sinusoidal_embeddings=True
)
pair = dict(
    d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
    encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=32, pad_token_id=1,
)  # fmt: skip
distilbert = dict(
    vocab_size=30, dim=16, n_layers=1, n_heads=2, hidden_dim=32, max_position_embeddings=32, sinusoidal_pos_embds=True
)
fsmt = dict(langs=["de", "en"], src_vocab_size=30, tgt_vocab_size=30, decoder_start_token_id=2)
models = {
    "Marian": hf.MarianMTModel(hf.MarianConfig(vocab_size=30, decoder_start_token_id=1, **pair)),
    "DistilBERT": hf.DistilBertForMaskedLM(hf.DistilBertConfig(**distilbert)),
    "XLM": hf.XLMWithLMHeadModel(hf.XLMConfig(**xlm)),
    "FlauBERT": hf.FlaubertWithLMHeadModel(hf.FlaubertConfig(**xlm)),
    "FSMT": hf.FSMTForConditionalGeneration(hf.FSMTConfig(**fsmt, **pair)),
}
tokens = torch.randint(3, 30, (4, 8))  # (sentences, tokens)


def table(model):
    return next(value for name, value in model.named_parameters() if "pos" in name)


for name, model in models.items():
    before = table(model).detach().clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(50):
        model(input_ids=tokens, attention_mask=torch.ones_like(tokens), labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = (table(model) - before).abs().max().item()
    trainable = table(model).requires_grad
    print(f"{name:<11} trainable {trainable!s:<5}  moved {moved:.3f}")
    assert trainable == (moved > 0.1) == (name != "Marian"), name

model = models["FSMT"].eval()
long = torch.randint(3, 30, (1, 40))
with torch.no_grad():
    first = model(input_ids=tokens, decoder_input_ids=tokens).logits
    again = model(input_ids=tokens, decoder_input_ids=tokens).logits
    assert torch.equal(first, again)
    model(input_ids=long, decoder_input_ids=tokens[:1])
    after = model(input_ids=tokens, decoder_input_ids=tokens).logits
change = (after - first).abs().max().item()
print(f"FSMT, the same input before and after a sentence of 40 tokens: logits differ by {change:.3f}")
assert change > 1e-3
PYTHON
venv/bin/python sinusoids.py
