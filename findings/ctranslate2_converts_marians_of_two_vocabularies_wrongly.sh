#!/usr/bin/env bash
# Package:  ctranslate2 4.8.5 with transformers 5.23.0 and torch 2.13.0
#
# Expected: CTranslate2's converter of transformers' models either converts a Marian to one that translates as
#           transformers does, or refuses it.
# Happens:  a Marian that has a vocabulary for each language (separate_vocabs in its tokenizer,
#           share_encoder_decoder_embeddings=False in its configuration) is converted without a word, as long as both
#           vocabularies have as many entries: the converter writes the source's for both. The weights are right, so the
#           entries that come out are too, and they are spelled as the source's: other words. The tokenizer itself
#           has the same trap: convert_ids_to_tokens spells the ids of a source as the target's.
# Meaning:  look at tokenizer.separate_vocabs before you convert, and translate those models with transformers.
#
# Output seen:
#   what transformers says  ['▁b']
#   what CTranslate2 says   ['▁a']
#   the source's ids as convert_ids_to_tokens spells them: ['▁b', '▁a', '</s>'] for ['▁a', '▁b', '</s>']
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 ctranslate2==4.8.5 \
    sentencepiece sacremoses

cat > compare.py <<'PYTHON'
import json

import ctranslate2
import sentencepiece
import torch
from transformers import MarianConfig, MarianMTModel, MarianTokenizer

sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(["a b", "b a", "a", "b"] * 9), model_prefix="words", vocab_size=10, hard_vocab_limit=False,
    model_type="word", minloglevel=2,
)  # fmt: skip
source = {"</s>": 0, "<unk>": 1, "▁a": 2, "▁b": 3, "<pad>": 4}
target = {"</s>": 0, "<unk>": 1, "▁b": 2, "▁a": 3, "<pad>": 4}
for name, vocabulary in (("vocab", source), ("target_vocab", target)):
    with open(f"{name}.json", "w") as file:
        json.dump(vocabulary, file)
tokenizer = MarianTokenizer(
    "words.model", "words.model", "vocab.json", target_vocab_file="target_vocab.json", separate_vocabs=True
)
tokenizer.save_pretrained("model")
torch.manual_seed(0)
model = MarianMTModel(
    MarianConfig(
        vocab_size=5, decoder_vocab_size=5, share_encoder_decoder_embeddings=False, d_model=8, encoder_layers=1,
        decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8,
        max_position_embeddings=20, pad_token_id=4, eos_token_id=0, decoder_start_token_id=4,
    )
).eval()  # fmt: skip
with torch.no_grad():  # the bias alone decides: the target's entry 2
    for weight in model.parameters():
        weight.zero_()
    model.final_logits_bias[0, 2] = 9.0
model.save_pretrained("model")

ids = tokenizer("a b")["input_ids"]
found = model.generate(torch.tensor([ids]), num_beams=1, do_sample=False, max_new_tokens=2)[0, 1:2].tolist()
theirs = [list(target)[entry] for entry in found]
ctranslate2.converters.TransformersConverter("model").convert("converted")
spelled = [list(source)[entry] for entry in ids]
said = ctranslate2.Translator("converted").translate_batch([spelled], beam_size=1, max_decoding_length=1)
print(f"what transformers says  {theirs}")
print(f"what CTranslate2 says   {said[0].hypotheses[0]}")
print(f"the source's ids as convert_ids_to_tokens spells them: {tokenizer.convert_ids_to_tokens(ids)} for {spelled}")
assert said[0].hypotheses[0] != theirs
assert tokenizer.convert_ids_to_tokens(ids) != spelled
PYTHON
PYTHONWARNINGS=ignore venv/bin/python compare.py 2> log || { tail -20 log; exit 1; }
