#!/usr/bin/env bash
# Package:  ctranslate2 4.8.5 with transformers 5.23.0 and torch 2.13.0
#
# Expected: min_decoding_length says which hypotheses are allowed, so that one which is long enough anyway has the same
#           score with and without it: the mean log-probability of its tokens, as score_batch gives it.
# Happens:  as long as the minimum is not reached, the end of sentence is taken out before the softmax, and the other
#           entries are given its probability. So every score is too high by what the model gave to an early end, divided
#           by the length; the default, min_decoding_length=1, is such a minimum. With 0 the scores are the model's, and
#           empty hypotheses come back as answers.
# Meaning:  scores of translate_batch cannot be compared with score_batch's, or with other programs', unless the minimum
#           is 0; put log(1 - p(end)) back, or score the hypotheses again.
#
# Output seen:
#   score_batch:              ['▁a', '</s>'] -0.8490
#   min_decoding_length=0:    ['</s>'] -0.3490
#   min_decoding_length=0:    ['▁a', '</s>'] -0.8490
#   min_decoding_length=1:    ['▁a', '</s>'] -0.2380
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 ctranslate2==4.8.5 \
    sentencepiece sacremoses

cat > scores.py <<'PYTHON'
import json
import math

import ctranslate2
import sentencepiece
import torch
from transformers import MarianConfig, MarianMTModel, MarianTokenizer

sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(["a b", "b a", "a", "b"] * 9), model_prefix="words", vocab_size=10, hard_vocab_limit=False,
    model_type="word", minloglevel=2,
)  # fmt: skip
with open("vocab.json", "w") as file:
    json.dump({"</s>": 0, "<unk>": 1, "▁a": 2, "▁b": 3, "<pad>": 4}, file)
MarianTokenizer("words.model", "words.model", "vocab.json").save_pretrained("model")
torch.manual_seed(0)
model = MarianMTModel(
    MarianConfig(
        vocab_size=5, decoder_vocab_size=5, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=20, pad_token_id=4,
        eos_token_id=0, decoder_start_token_id=4,
    )
).eval()  # fmt: skip
with torch.no_grad():  # the bias alone decides, at every position: an end, or ▁a
    for weight in model.parameters():
        weight.zero_()
    model.final_logits_bias[0] = torch.tensor([2.0, -9.0, 1.0, -1.0, -9.0])
model.save_pretrained("model")
ctranslate2.converters.TransformersConverter("model").convert("converted")
engine = ctranslate2.Translator("converted")

scored = engine.score_batch([["▁b", "</s>"]], [["▁a"]])[0]
mean = sum(scored.log_probs) / 2
print(f"score_batch:              ['▁a', '</s>'] {mean:.4f}")
found = {}
for least in (0, 1):
    result = engine.translate_batch(
        [["▁b", "</s>"]], beam_size=2, num_hypotheses=2, min_decoding_length=least, max_decoding_length=3,
        return_scores=True, return_end_token=True,
    )[0]  # fmt: skip
    for tokens, score in zip(result.hypotheses, result.scores):
        if len(tokens) <= 2 and tokens[0] != "▁b":
            found[least, len(tokens)] = score
            print(f"min_decoding_length={least}:    {tokens} {score:.4f}")
assert math.isclose(found[0, 2], mean, abs_tol=1e-4) and (0, 1) in found
end = math.exp(scored.log_probs[1])
assert math.isclose(found[1, 2], mean - math.log(1 - end) / 2, abs_tol=1e-4)
PYTHON
PYTHONWARNINGS=ignore venv/bin/python scores.py 2> log || { tail -20 log; exit 1; }
