#!/usr/bin/env bash
# Package:  tokenizers 0.23.3
#
# Expected: a tokenizer that was read from tokenizer.json and works is the same after it was saved and read again.
# Happens:  a vocabulary in which two tokens have one id is read, and both are found in text. Saving writes it id by id,
#           so that one of the two is gone, and with it perhaps the unknown token, without which the next text with an
#           unknown word raises an exception. transformers saves and reads a tokenizer again while it loads one.
# Meaning:  several spellings cannot share an embedding row by sharing an id. Give each an id of its own, and copy the row.
#
# Output seen:
#   before saving: ['▁house', '##s'] [4, 5], 7 tokens
#   after saving:  6 tokens
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check tokenizers==0.23.3

cat > shared.py <<'PYTHON'
import json

from tokenizers import Tokenizer

vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "▁house": 4, "##s": 5, "s": 5}
document = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
    "pre_tokenizer": None, "post_processor": None, "decoder": None,
    "model": {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100, "vocab": vocabulary},
}  # fmt: skip
tokenizer = Tokenizer.from_str(json.dumps(document))
found = tokenizer.encode("▁houses")
before = len(json.loads(json.dumps(vocabulary)))
after = len(Tokenizer.from_str(tokenizer.to_str()).get_vocab())
print(f"before saving: {found.tokens} {found.ids}, {len(tokenizer.get_vocab())} tokens")
print(f"after saving:  {after} tokens")
assert found.ids == [4, 5] and after < before, "tokenizers has changed: two tokens of one id survive now"
PYTHON
venv/bin/python shared.py
