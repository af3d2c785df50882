#!/usr/bin/env bash
# Package:  transformers 5.23.0 with sentencepiece 0.2.3
#
# Expected: "sentencepiece.bpe.model" is the name of the tokenizer file of XLM-R, mBART and CamemBERT. A sentencepiece
#           model of the type bpe in it is read as what it is, for the file records its type. (With transformers
#           4.57.3, XLMRobertaTokenizerFast gives the line below as sentencepiece does.)
# Happens:  the type is not looked at. XLM-R, mBART and T5 take the BPE model's scores (minus the rank of the merge)
#           for log probabilities and look for the best unigram segmentation: frequent words, which are one token for
#           sentencepiece, come apart. The vocabulary is the same, every id is valid, no warning is given.
#           CamemBERT raises a TypeError about a str that is not a tuple.
# Meaning:  a student of a translation model with a shared sentencepiece BPE vocabulary is fed other tokens than its
#           teacher saw, and nothing says so. Compare tokenize() with sentencepiece's own encode() on some lines before
#           training.
#
# Output seen:
#   sentencepiece 'der hund schläft nicht' -> ▁der ▁hund ▁schläft ▁nicht
#   XLM-R         'der hund schläft nicht' -> ▁d er ▁h und ▁schläft ▁nicht
#   XLM-R      bpe: 421 of 500 lines differ    unigram: 0 of 500 lines differ
#   mBART      bpe: 421 of 500 lines differ    unigram: 0 of 500 lines differ
#   T5         bpe: 421 of 500 lines differ    unigram: 0 of 500 lines differ
#   CamemBERT  bpe: TypeError                 unigram: 0 of 500 lines differ
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check \
    sentencepiece==0.2.3 transformers==5.23.0 protobuf==7.36.2

cat > segment.py <<'PYTHON'
import random
import shutil
from pathlib import Path

import sentencepiece
import transformers as hf

hf.logging.set_verbosity_error()
random.seed(1)
WORDS = (
    "der die das ein eine haus baum hund katze läuft schläft groß klein über unter und nicht ist war wird haben "
    "kinder lesen bücher garten"
).split()
lines = [" ".join(random.choice(WORDS) for _ in range(10)) for _ in range(500)]
Path("corpus.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
for kind in ("bpe", "unigram"):
    sentencepiece.SentencePieceTrainer.train(
        input="corpus.txt", model_prefix=kind, model_type=kind, vocab_size=80, hard_vocab_limit=False, minloglevel=2
    )

READERS = {
    "XLM-R": (hf.XLMRobertaTokenizer, "sentencepiece.bpe.model"),
    "mBART": (hf.MBartTokenizer, "sentencepiece.bpe.model"),
    "T5": (hf.T5Tokenizer, "spiece.model"),
    "CamemBERT": (hf.CamembertTokenizer, "sentencepiece.bpe.model"),
}


def differences(name, kind):
    """The number of lines that the reader segments in another way than sentencepiece, or the name of its error."""
    reader, file_name = READERS[name]
    folder = Path(name + kind)
    folder.mkdir()
    shutil.copy(kind + ".model", folder / file_name)
    truth = sentencepiece.SentencePieceProcessor(model_file=kind + ".model")
    try:
        tokenizer = reader.from_pretrained(str(folder))
    except TypeError as error:
        return type(error).__name__
    line = "der hund schläft nicht"
    if (name, kind) == ("XLM-R", "bpe"):
        print(f"sentencepiece {line!r} ->", *truth.encode(line, out_type=str))
        print(f"XLM-R         {line!r} ->", *tokenizer.tokenize(line))
    return sum(truth.encode(line, out_type=str) != tokenizer.tokenize(line) for line in lines)


def told(count):
    return count if isinstance(count, str) else f"{count} of {len(lines)} lines differ"


for name in READERS:
    bpe, unigram = differences(name, "bpe"), differences(name, "unigram")
    print(f"{name:<10} bpe: {told(bpe):<25}  unigram: {told(unigram)}")
    assert unigram == 0, name
    assert bpe == "TypeError" if name == "CamemBERT" else bpe > 400, name
PYTHON
venv/bin/python segment.py
