#!/usr/bin/env bash
# Package:  transformers 5.23.0 with sentencepiece 0.2.3
#
# Expected: a sentencepiece model carries its settings in the file (byte fallback, dummy prefix, where the space mark
#           goes, user-defined symbols), so a tokenizer made from that file alone gives the same tokens. An unknown
#           character becomes bytes when the model was trained with byte_fallback.
# Happens:  the unigram tokenizers (here XLM-R) take the vocabulary and the normaliser from the file and leave the
#           settings there, without a warning:
#             byte_fallback                  the character becomes <unk>, although the byte tokens have ids
#             add_dummy_prefix=False         a space mark is put in front all the same
#             treat_whitespace_as_suffix     words fall to letters, as no token begins with the space mark
#             user_defined_symbols           a symbol inside a line swallows the space before it and gets one after
#                                            it: decoding moves the space
# Meaning:  a vocabulary that "has no <unk>" has one after conversion; a student that shares its teacher's .model file
#           need not share its tokens. Test with a line that holds a rare character and a symbol, not only with words.
#
# Output seen:
#   defaults                    'hund über haus' same tokens as sentencepiece
#   byte_fallback               'hund 你' sentencepiece ▁hund ▁ <0xE4> <0xBD> <0xA0> | XLM-R ▁hund ▁ <unk>
#   add_dummy_prefix            'hund über haus' sentencepiece hund ▁über ▁haus | XLM-R ▁hund ▁über ▁haus
#   treat_whitespace_as_suffix  'hund über' sentencepiece hund▁ über▁ | XLM-R ▁ h u n d ▁ ü b e r
#   user_defined_symbols        'haus ##hund' sentencepiece ▁haus ▁ ## h u n d | XLM-R ▁haus ## ▁hund
#   user_defined_symbols        decoded by sentencepiece 'haus ##hund', by XLM-R 'haus## hund'
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check \
    sentencepiece==0.2.3 transformers==5.23.0 protobuf==7.36.2

cat > settings.py <<'PYTHON'
import random
import shutil
from pathlib import Path

import sentencepiece
import transformers as hf

hf.logging.set_verbosity_error()
random.seed(1)
WORDS = "der die das haus baum hund katze läuft schläft groß klein über unter und nicht ist kinder bücher".split()
Path("corpus.txt").write_text(
    "\n".join(" ".join(random.choice(WORDS) for _ in range(10)) for _ in range(500)) + "\n", encoding="utf-8"
)


def both(name, **settings):
    """Trains a unigram model with the settings: (its own reader, the tokenizer that transformers makes of it)."""
    folder = Path(name)
    folder.mkdir()
    settings.setdefault("vocab_size", 70)
    sentencepiece.SentencePieceTrainer.train(
        input="corpus.txt", model_prefix=name, hard_vocab_limit=False, minloglevel=2, **settings
    )
    shutil.copy(name + ".model", folder / "sentencepiece.bpe.model")
    return (
        sentencepiece.SentencePieceProcessor(model_file=name + ".model"),
        hf.XLMRobertaTokenizer.from_pretrained(str(folder)),
    )


def compare(name, text, truth, tokenizer):
    ours = truth.encode(text, out_type=str)
    # By way of the ids: tokenize() shows an unknown character as itself.
    theirs = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])
    same = ours == theirs
    shown = "same tokens as sentencepiece" if same else f"sentencepiece {' '.join(ours)} | XLM-R {' '.join(theirs)}"
    print(f"{name:<27} {text!r} {shown}")
    return same, theirs


assert compare("defaults", "hund über haus", *both("defaults"))[0]

truth, tokenizer = both("byte_fallback", byte_fallback=True, vocab_size=340)
same, tokens = compare("byte_fallback", "hund 你", truth, tokenizer)
assert not same and tokenizer.unk_token in tokens
assert tokenizer.convert_tokens_to_ids("<0xE4>") != tokenizer.unk_token_id

pair = both("add_dummy_prefix", add_dummy_prefix=False)
assert not compare("add_dummy_prefix", "hund über haus", *pair)[0]

pair = both("treat_whitespace_as_suffix", treat_whitespace_as_suffix=True)
same, tokens = compare("treat_whitespace_as_suffix", "hund über", *pair)
assert not same and len(tokens) == 10

truth, tokenizer = both("user_defined_symbols", user_defined_symbols=["##"])
text = "haus ##hund"
assert not compare("user_defined_symbols", text, truth, tokenizer)[0]
ours = truth.decode(truth.encode(text))
theirs = tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"])
print(f"{'user_defined_symbols':<27} decoded by sentencepiece {ours!r}, by XLM-R {theirs!r}")
assert ours == text and theirs == "haus## hund"
PYTHON
venv/bin/python settings.py
