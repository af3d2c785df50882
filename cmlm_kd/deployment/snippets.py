"""How to use an exported directory with its own runtime and without this project: code for model cards."""

from __future__ import annotations

import re

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

_CTRANSLATE2 = (
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
found = translator.translate_batch(
    [source], beam_size=5, min_decoding_length=0, max_decoding_length={most})
print(to_text(found[0].hypotheses[0]))
"""
)

ONNX_TRANSLATOR = (
    """\
import json, re

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("{name}/tokenizer.json")
symbols = json.load(open("{name}/symbols.json", encoding="utf-8"))
entries = json.load(open("{name}/entries.json", encoding="utf-8"))
known = {symbol: i for i, symbol in enumerate(entries["source"])}
encoder, decoder = (onnxruntime.InferenceSession(f"{name}/{part}.onnx") for part in ("encoder", "decoder"))
"""
    + _READ
    + """

text = "{text}"
tokens = np.array([[known.get(symbols[i], 3) for i in tokenizer.encode(text).ids] + [2]])
given = {"tokens": tokens, "mask": np.zeros(tokens.shape, np.float32)}
inputs = [one.name for one in decoder.get_inputs()]
states = dict(zip([one.name for one in encoder.get_outputs()], encoder.run(None, {
    one.name: given[one.name] for one in encoder.get_inputs()})))
if "keys" in inputs:  # a Transformer's cache, empty but for a place that is not looked at
    layers, batch, heads, _, width = states["source_keys"].shape
    states["keys"] = states["values"] = np.zeros((layers, batch, heads, 1, width), np.float32)
said, token = [], 2
for position in range({most}):  # greedily; 2 is the end, 1 padding
    states |= {"token": np.array([[token]]), "position": np.array([position]), "mask": given["mask"]}
    found = decoder.run(None, {name: states[name] for name in inputs})
    states |= dict(zip([one.name.removeprefix("next_") for one in decoder.get_outputs()], found))
    logs = found[0][0]
    logs[1] = -np.inf
    if position == 0:
        logs[2] = -np.inf
    token = int(logs.argmax())
    if token == 2:
        break
    said.append(entries["target"][token])
print(to_text(said))
"""
)

HUGGING_FACE_CLASSIFIER = """\
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = AutoModelForSequenceClassification.from_pretrained("{name}").eval()
batch = tokenizer({texts}, return_tensors="pt")
logits = model(**batch).logits
print(model.config.id2label[int(logits[0].argmax())] if logits.size(1) > 1 else float(logits[0, 0]))
"""

_ANSWER = """\
labels = json.load(open("{name}/export.json", encoding="utf-8"))["labels"]
print(labels[int(logits[0].argmax())] if labels else float(logits[0, 0]))
"""

ONNX_CLASSIFIER = (
    """\
import json

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

graph = onnxruntime.InferenceSession("{name}/model.onnx")
encoded = Tokenizer.from_file("{name}/tokenizer.json").encode({texts})
mask, types = encoded.attention_mask, encoded.type_ids
inputs = {"input_ids": encoded.ids, "attention_mask": mask, "token_type_ids": types}
(logits,) = graph.run(["logits"], {
    one.name: np.array([inputs[one.name]]) for one in graph.get_inputs()})
"""
    + _ANSWER
)

ONNX_WORDS = (
    """\
import json, re

import numpy as np
import onnxruntime

graph = onnxruntime.InferenceSession("{name}/model.onnx")
known = json.load(open("{name}/words.json", encoding="utf-8"))
ids = {word: i for i, word in enumerate(known["words"])}
texts = [{texts}]
words, types = [], []
for side, text in enumerate(texts):
    text = text.lower() if known["lowercase"] else text
    found = re.findall(known["pattern"], text, re.VERBOSE | re.IGNORECASE)
    words += [ids.get(word, 1) for word in found]  # 1 stands for all others
    types += [side] * len(found)
inputs = {name: np.array([row]) for name, row in {
    "input_ids": words, "attention_mask": [1] * len(words), "token_type_ids": types}.items()}
(logits,) = graph.run(["logits"], {one.name: inputs[one.name] for one in graph.get_inputs()})
"""
    + _ANSWER
)


def ctranslate2_code(shortlist: bool) -> str:
    """Return the code for a directory of CTranslate2, with or without a shortlist."""
    plain = "min_decoding_length=0"
    return _CTRANSLATE2.replace(plain, f"{plain}, use_vmap=True") if shortlist else _CTRANSLATE2


def filled(code: str, name: str, text: str, most: int = 0, second: str | None = None) -> str:
    """Return a piece of code for a directory of that name.

    Args:
        code: one of the above.
        name: of the directory.
        text: the sentence in it, or the first of a pair.
        most: tokens of a translation, at most.
        second: the second of a pair, of a classifier that reads pairs.
    """
    text, name = _in_quotes(text), _in_quotes(name)
    texts = f'"{text}"' if second is None else f'"{text}", "{_in_quotes(second)}"'
    values = {"most": str(most), "name": name, "texts": texts, "text": text}
    return re.sub("{(most|name|texts|text)}", lambda found: values[found[1]], code)


def _in_quotes(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
