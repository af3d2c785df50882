"""How to use an exported directory with its own runtime and without this project: code for model cards."""

from __future__ import annotations

_READ = r"""
def to_text(symbols):
    data = bytearray()
    for i, part in enumerate(re.split("<0x([0-9A-F]{2})>", "".join(symbols))):  # bytes are spelled out
        data += bytes([int(part, 16)]) if i % 2 else part.replace("▁", " ").replace("⎽", "▁").encode()
    return data.decode("utf-8", "replace").strip()
"""

HUGGING_FACE_TRANSLATOR = """\
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer  # transformers 5

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = AutoModelForSeq2SeqLM.from_pretrained("{name}")
batch = tokenizer(["{text}"], return_tensors="pt", padding=True)
print(tokenizer.batch_decode(model.generate(**batch), skip_special_tokens=True))
"""

CTRANSLATE2 = (
    """\
import json, re

import ctranslate2
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("{name}/tokenizer.json")
symbols = json.load(open("{name}/symbols.json", encoding="utf-8"))
translator = ctranslate2.Translator("{name}")
"""
    + _READ
    + """

source = [symbols[i] for i in tokenizer.encode("{text}").ids]
found = translator.translate_batch([source], beam_size=5, min_decoding_length=0)
print(to_text(found[0].hypotheses[0]))
"""
)


def filled(code: str, name: str, text: str) -> str:
    """Return a piece of code for a directory of that name, with a sentence to translate."""
    return code.replace("{name}", name).replace("{text}", text.replace("\\", "\\\\").replace('"', '\\"'))
