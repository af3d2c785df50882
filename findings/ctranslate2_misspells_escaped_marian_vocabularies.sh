#!/usr/bin/env bash
# Package:  ctranslate2 4.8.5 with numpy 2.4.6 and PyYAML 6.0.4
#
# Expected: ct2-marian-converter reads vocab.yml as the YAML file that it is, as Marian's own parser does; or refuses what it
#           cannot read.
# Happens:  it reads the file line by line, and of YAML's escapes it knows \x in an entry that has nothing else: of any other
#           it takes the backslash away, or leaves it as it stands. "\u2581Haus" becomes u2581Haus, "\u2581f\xFCr" becomes
#           u2581f\xFCr. That is how yaml.dump and yaml.safe_dump of Python write what is not ASCII, unless they are told
#           allow_unicode=True: all words of a sentencepiece vocabulary, since each begins with U+2581. The conversion
#           succeeds; each such piece of a source is unknown, and translations are spelled with u2581.
# Meaning:  a vocabulary that a script of one's own wrote, for Marian to read, is another one in CTranslate2. A source says
#           nothing any more, and a score is given all the same. Compare yaml.safe_load of the file with the vocabulary
#           beside the converted model, or write with allow_unicode=True.
#
# Output seen (one model of random weights; five sources of one piece; how many different translations):
#   allow_unicode=True   5 different   vocabulary </s> <unk> ▁Haus ▁für ▁ein ▁Tür ung
#   safe_dump's default  2 different   vocabulary </s> <unk> u2581Haus u2581f\xFCr u2581ein u2581T\xFCr ung
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-compile ctranslate2==4.8.5 numpy==2.4.6 PyYAML==6.0.4

cat > convert.py <<'PYTHON'
import json
from pathlib import Path

import ctranslate2
import numpy
import yaml
from ctranslate2.converters import MarianConverter

PIECES = ["</s>", "<unk>", "▁Haus", "▁für", "▁ein", "▁Tür", "ung"]
WIDTH = 8
SETTINGS = {
    "type": "transformer",
    "enc-depth": 1,
    "dec-depth": 1,
    "transformer-heads": 2,
    "transformer-ffn-activation": "relu",
    "transformer-preprocess": "",
    "transformer-postprocess": "dan",
    "transformer-postprocess-emb": "d",
    "transformer-decoder-autoreg": "self-attention",
    "transformer-no-projection": False,
    "transformer-guided-alignment-layer": "last",
}


def marian_model():
    drawn = numpy.random.default_rng(0)

    def matrix(*shape):
        return drawn.normal(size=shape).astype("float32")

    arrays = {"Wemb": matrix(len(PIECES), WIDTH), "decoder_ff_logit_out_b": matrix(1, len(PIECES))}
    blocks = {"encoder_l1": ["self"], "decoder_l1": ["self", "context"]}
    for layer, attentions in blocks.items():
        for attention in attentions:
            for part in "qkvo":
                arrays[f"{layer}_{attention}_W{part}"] = matrix(WIDTH, WIDTH)
                arrays[f"{layer}_{attention}_b{part}"] = matrix(1, WIDTH)
        for part in "12":
            arrays[f"{layer}_ffn_W{part}"] = matrix(WIDTH, WIDTH)
            arrays[f"{layer}_ffn_b{part}"] = matrix(1, WIDTH)
        for norm in [f"{layer}_{attention}_Wo" for attention in attentions] + [f"{layer}_ffn_ffn"]:
            arrays[f"{norm}_ln_scale"] = numpy.ones((1, WIDTH), "float32")
            arrays[f"{norm}_ln_bias"] = numpy.zeros((1, WIDTH), "float32")
    settings = yaml.safe_dump(SETTINGS).encode() + b"\0"
    return arrays | {"special:model.yml": numpy.frombuffer(settings, dtype="int8")}


numpy.savez("model.npz", **marian_model())
seen = {}
for name, options in {"allow_unicode=True": {"allow_unicode": True}, "safe_dump's default": {}}.items():
    written = {piece: i for i, piece in enumerate(PIECES)}
    Path("vocab.yml").write_text(yaml.safe_dump(written, sort_keys=False, **options), encoding="utf-8")
    assert yaml.safe_load(Path("vocab.yml").read_text(encoding="utf-8")) == written
    MarianConverter("model.npz", ["vocab.yml", "vocab.yml"]).convert("converted", force=True)
    vocabulary = json.loads(Path("converted/shared_vocabulary.json").read_text(encoding="utf-8"))
    translator = ctranslate2.Translator("converted", intra_threads=1)
    results = translator.translate_batch(
        [[piece] for piece in PIECES[2:]], beam_size=1, max_decoding_length=4, return_scores=True
    )
    seen[name] = vocabulary, len({(tuple(one.hypotheses[0]), round(one.scores[0], 5)) for one in results})
    print(f"{name:<20} {seen[name][1]} different   vocabulary {' '.join(vocabulary)}")
assert seen["allow_unicode=True"] == (PIECES, 5)
vocabulary, different = seen["safe_dump's default"]
assert vocabulary[3] == "u2581f\\xFCr" and different == 2, "escapes are read now"
PYTHON
venv/bin/python convert.py 2> log || { tail -20 log; exit 1; }
