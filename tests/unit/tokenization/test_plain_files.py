"""A piece tokenizer as two files for the package ``tokenizers``: the same symbols for the same text."""

import json

import pytest
from tiny_tokenizers import SENTENCES, training_lines, write_byte_level, write_sentencepiece, write_wordpiece
from tokenizers import Tokenizer

from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.plain_files import SYMBOLS_FILE, TOKENIZER_FILE, write_plain_files

ODD = [
    "  two   spaces,\ttabs \u00a0 and a no-break space ",
    "well-known and well - known; (brackets)[and]{braces} a/b 3.50$ + 10%",
    "zwei\u2009Zeichen\u0301 und 漢字in der Mitte",
    "<s> [CLS] </s> are text",
]
TEXTS = [*SENTENCES["de"], *SENTENCES["en"], *ODD]

WRITERS = {
    "wordpiece": lambda folder, lines: write_wordpiece(folder, lines, lowercase=False),
    "wordpiece uncased": lambda folder, lines: write_wordpiece(folder, lines, lowercase=True),
    "byte-level": lambda folder, lines: write_byte_level(folder, lines, add_prefix_space=False),
    "unigram": write_sentencepiece,
    "bpe": lambda folder, lines: write_sentencepiece(folder, lines, model_type="bpe"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_the_files_cut_as_the_tokenizer_does(kind, tmp_path):
    WRITERS[kind](tmp_path / "teacher", training_lines())
    pieces = PieceTokenizer.from_pretrained(str(tmp_path / "teacher"))
    write_plain_files(pieces, tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / TOKENIZER_FILE))
    symbols = json.loads((tmp_path / SYMBOLS_FILE).read_text())
    for text in TEXTS:
        found = [symbols[i] for i in tokenizer.encode(text).ids]
        wanted = [symbol.replace("▁<unk>", "<unk>") for symbol in pieces.encode(text).symbols]
        assert found == wanted, text
