#!/usr/bin/env bash
# Package:  ctranslate2 4.8.5 with numpy 2.4.6
#
# Expected: what target_prefix forces (the language code of M2M100, NLLB and mBART, or a beginning that a person typed) is
#           no choice of the model and has no part in scores; or it has all its part, its tokens' probabilities and number.
# Happens:  its probabilities are left out of the sum, and its tokens are counted in the length that the sum is divided by. So
#           scores are too near 0, the more so the shorter the sentence and the longer the prefix; and beam search prefers
#           shorter hypotheses than without a prefix, under the same length_penalty. In a model whose probabilities
#           are the same at every place, a language code alone turns the order of two hypotheses around.
# Meaning:  scores of multilingual models say little across lengths (filters by confidence, choices among engines, comparisons
#           with fairseq). Multiply by (length / length without prefix) ** length_penalty; for the order of
#           hypotheses search with length_penalty=0, or return more of them and sort them again.
#
# Output seen (beam of 3, the best two; the mean is that of the log-probabilities of the tokens that were chosen):
#   no prefix       a a </s>                score -0.7675   mean -0.7675
#   no prefix       a </s>                  score -0.8047   mean -0.8047
#   language code   __de__ a </s>           score -0.5365   mean -0.8047
#   language code   __de__ a a </s>         score -0.5756   mean -0.7675
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-compile ctranslate2==4.8.5 numpy==2.4.6 'setuptools<81'

cat > prefix.py <<'PYTHON'
import ctranslate2
import numpy as np
from ctranslate2.specs import TransformerSpec

TOKENS = ["<unk>", "<s>", "</s>", "__de__", "a", "b"]
CHANCES = [0.001, 0.001, 0.4, 0.001, 0.5, 0.097]  # of each token, at every place
WIDTH = 8


def fill(linear, rows):
    linear.weight, linear.bias = np.zeros((rows, WIDTH), "float32"), np.zeros(rows, "float32")


def normal(layer):
    layer.gamma, layer.beta = np.ones(WIDTH, "float32"), np.zeros(WIDTH, "float32")


spec = TransformerSpec.from_config(1, 2, pre_norm=True)
for side, embeddings in ((spec.encoder, spec.encoder.embeddings[0]), (spec.decoder, spec.decoder.embeddings)):
    embeddings.weight = np.zeros((len(TOKENS), WIDTH), "float32")
    side.position_encodings.encodings = np.zeros((64, WIDTH), "float32")
    normal(side.layer_norm)
    for layer in side.layer:
        for block in (layer.self_attention, layer.ffn):
            normal(block.layer_norm)
        fill(layer.self_attention.linear[0], 3 * WIDTH)
        fill(layer.self_attention.linear[1], WIDTH)
        fill(layer.ffn.linear_0, WIDTH)
        fill(layer.ffn.linear_1, WIDTH)
        if side is spec.decoder:
            normal(layer.attention.layer_norm)
            for linear, rows in zip(layer.attention.linear, (WIDTH, 2 * WIDTH, WIDTH)):
                fill(linear, rows)
fill(spec.decoder.projection, len(TOKENS))
spec.decoder.projection.bias = np.log(CHANCES).astype("float32")
spec.register_source_vocabulary(TOKENS)
spec.register_target_vocabulary(TOKENS)
spec.validate()
spec.save("model")

engine = ctranslate2.Translator("model", intra_threads=1)
for name, prefix in (("no prefix", []), ("language code", ["__de__"])):
    result = engine.translate_batch(
        [["a"]], target_prefix=[prefix] if prefix else None, beam_size=3, num_hypotheses=2, return_scores=True,
        return_end_token=True, min_decoding_length=0,
    )[0]  # fmt: skip
    lengths = []
    for tokens, score in zip(result.hypotheses, result.scores):
        total = sum(np.log(CHANCES[TOKENS.index(token)]) for token in tokens[len(prefix) :])
        mean = total / (len(tokens) - len(prefix))
        print(f"{name:<15} {' '.join(tokens):<23} score {score:.4f}   mean {mean:.4f}")
        assert abs(score - total / len(tokens)) < 1e-3, "the prefix is counted otherwise now"
        lengths.append(len(tokens) - len(prefix))
    assert (lengths[0] < lengths[1]) == bool(prefix), "the order is the same with and without a prefix now"
PYTHON
mkdir model
venv/bin/python prefix.py
