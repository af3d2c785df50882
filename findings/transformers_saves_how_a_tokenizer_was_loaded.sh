#!/usr/bin/env bash
# Package:  transformers 5.23.0
#
# Expected: what save_pretrained writes of a tokenizer depends on the tokenizer.
# Happens:  tokenizer_config.json also says how it was loaded: whether from a folder (`is_local`), and whether hub access was
#           off (`local_files_only`), be it by argument or by HF_HUB_OFFLINE. One tokenizer saved by a machine with
#           network and by one without has other bytes, although both cut every text alike.
# Meaning:  checksums of saved folders differ between machines, and a build is not reproducible, until the two keys are
#           taken out of the file.
#
# Output seen:
#   HF_HUB_OFFLINE=0: is_local=True local_files_only=False
#   HF_HUB_OFFLINE=1: is_local=True local_files_only=True
#   made in memory: is_local=None local_files_only=None
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check transformers==5.23.0 tokenizers==0.23.3

cat > saved.py <<'PYTHON'
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoTokenizer, PreTrainedTokenizerFast

if sys.argv[1] == "make":
    words = Tokenizer(WordLevel({"<unk>": 0, "house": 1}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained("made")
else:
    AutoTokenizer.from_pretrained("made").save_pretrained(sys.argv[1])
saved = json.loads(Path("made" if sys.argv[1] == "make" else sys.argv[1], "tokenizer_config.json").read_text())
print(" ".join(f"{key}={saved.get(key)}" for key in ("is_local", "local_files_only")))
PYTHON
made=$(venv/bin/python saved.py make 2>/dev/null)
online=$(HF_HUB_OFFLINE=0 venv/bin/python saved.py online 2>/dev/null)
offline=$(HF_HUB_OFFLINE=1 venv/bin/python saved.py offline 2>/dev/null)
echo "HF_HUB_OFFLINE=0: $online"
echo "HF_HUB_OFFLINE=1: $offline"
echo "made in memory: $made"
if cmp -s online/tokenizer_config.json offline/tokenizer_config.json; then
    echo "transformers has changed: the same tokenizer is saved alike" >&2
    exit 1
fi
