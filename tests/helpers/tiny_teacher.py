"""A BERT with random weights and a WordPiece vocabulary of a given text, as a Hugging Face directory."""

import string
from collections import Counter

import torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_bert(directory, lines, *, max_positions=128, layers=1, hidden_size=16, words=200, seed=1):
    """Write config, weights and tokenizer; whatever is no frequent word is spelt in letters."""
    directory.mkdir(parents=True)
    frequent = [word for word, _ in Counter(" ".join(lines).split()).most_common(words)]
    letters = sorted(set("".join(lines)) - set(string.whitespace))
    pieces = dict.fromkeys([*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters), *frequent])
    (directory / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    BertTokenizerFast(str(directory / "vocab.txt"), do_lower_case=False).save_pretrained(directory)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * hidden_size,
        max_position_embeddings=max_positions,
    )
    BertForMaskedLM(config).save_pretrained(directory)
    return directory
