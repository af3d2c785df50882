#!/usr/bin/env bash
# Package:  transformers 5.23.0 writes, transformers 4.57.6 (tokenizers 0.22.2) reads
#
# Expected: a tokenizer that save_pretrained wrote gives the same ids and the same kinds of inputs in both, or an
#           error. A guess would be that only the class name, TokenizersBackend, stands in the way.
# Happens:  1. With that name 4.57.6 ends in "Tokenizer class TokenizersBackend does not exist".
#           2. With the name that both know, PreTrainedTokenizerFast, a byte-level tokenizer that puts a space before
#              the first word is changed in silence: 4.57.6 takes an add_prefix_space that is not in
#              tokenizer_config.json for False, and sets it in the tokenizer. The first token of every text is another
#              one. 5.23.0 does not write the entry, and does not look at it.
#           3. Of a pair of sentences 4.57.6 gives token types by default, 5.23.0 does not: there, a BERT sees the
#              second sentence as if it were the first.
#           4. Extra special tokens are written as a list, where 4.57.6 expects a dictionary: AttributeError.
# Meaning:  whoever hands models on writes tokenizer_class, add_prefix_space, model_input_names and
#           additional_special_tokens (which both understand) into tokenizer_config.json by hand.
#
# Output seen:
#   5.23.0 ids [7, 8]  inputs: attention_mask, input_ids
#   4.57.6 as written        ValueError
#   4.57.6 class renamed     ids [6, 8]  inputs: attention_mask, input_ids, token_type_ids
#   4.57.6 and first space   ids [7, 8]  inputs: attention_mask, input_ids, token_type_ids
#   4.57.6 extra tokens      AttributeError
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for version in 5.23.0 4.57.6; do
    python3 -m venv "$version"
    "$version/bin/pip" install --quiet --quiet --disable-pip-version-check "transformers==$version" protobuf==7.36.2
done

cat > write.py <<'PYTHON'
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", "dog", "Ġdog", "Ġcat"]
merges = [("Ġ", "dog"), ("Ġ", "cat")]
letters = sorted(set("dogcat"))
steps = [("d", "o"), ("do", "g"), ("c", "a"), ("ca", "t")]
vocabulary = {word: number for number, word in enumerate([*words, *letters, "do", "ca", "cat"])}
backend = Tokenizer(models.BPE(vocabulary, [*steps, *merges]))
backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
names = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
named = {f"{name}_token": token for name, token in names.items()}
PreTrainedTokenizerFast(tokenizer_object=backend, **named).save_pretrained("plain")
PreTrainedTokenizerFast(tokenizer_object=backend, extra_special_tokens=["<s>"], **named).save_pretrained("extra")
PYTHON

cat > read.py <<'PYTHON'
import json
import sys

from transformers import AutoTokenizer

folder, changes = sys.argv[1], json.loads(sys.argv[2])
path = f"{folder}/tokenizer_config.json"
settings = {**json.load(open(path)), **changes}
json.dump(settings, open(path, "w"))
json.dump({"model_type": "bert"}, open(f"{folder}/config.json", "w"))
try:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = tokenizer("dog cat")
    print("ids", found["input_ids"], " inputs:", ", ".join(sorted(found)))
except Exception as error:
    print(type(error).__name__)
PYTHON

renamed='{"tokenizer_class": "PreTrainedTokenizerFast"}'
5.23.0/bin/python write.py 2>/dev/null
five=$(5.23.0/bin/python read.py plain '{}' 2>/dev/null)
written=$(4.57.6/bin/python read.py plain '{}' 2>/dev/null)
class=$(4.57.6/bin/python read.py plain "$renamed" 2>/dev/null)
space=$(4.57.6/bin/python read.py plain '{"add_prefix_space": true}' 2>/dev/null)
extra=$(4.57.6/bin/python read.py extra "$renamed" 2>/dev/null)
printf '5.23.0 %s\n4.57.6 as written        %s\n4.57.6 class renamed     %s\n4.57.6 and first space   %s\n' \
    "$five" "$written" "$class" "$space"
printf '4.57.6 extra tokens      %s\n' "$extra"
[ "$five" = "ids [7, 8]  inputs: attention_mask, input_ids" ]
[ "$written" = ValueError ]
[ "$class" = "ids [6, 8]  inputs: attention_mask, input_ids, token_type_ids" ]
[ "$space" = "ids [7, 8]  inputs: attention_mask, input_ids, token_type_ids" ]
[ "$extra" = AttributeError ]
