"""Tiny tokenizers of every kind, trained on the spot, as Hugging Face teacher directories without weights."""

import io
import json
import string

import sentencepiece
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from cmlm_kd.data.numbers import CorpusSizes, build_corpus

SENTENCES = {
    "de": (
        "Zwei Männer stehen an der Straße und hören Musik.",
        "„Wie spät ist es?“, fragte Jürgen – niemand wusste es.",
        "Das Fußballspiel (2:1) endete um 21.45 Uhr; 5.000 Zuschauer jubelten!",
        "Über den Wolken muss die Freiheit wohl grenzenlos sein...",
        "Schöne Grüße aus Köln/Bonn, 50 % Rabatt & mehr: siehe [A] <B> {C} @home #1 *_*",
    ),
    "en": (
        "Two young men are standing on the street, and they're listening to music.",
        "\"What's the time?\" asked O'Neill; nobody knew, they didn't care.",
        "The well-known team's 2-1 win (in 1998!) cost $3.50 + tax = 10% more?",
        "Don't walk on the grass: it's not allowed... or is it?",
        "Quick brown foxes jump over the lazy dog; XYZ vs. Q/A, a\\b ~ c^d | e",
    ),
}
"""Sentences with the punctuation and the letters of two languages."""

BERT_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ROBERTA_TOKENS = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}


def training_lines():
    """Return the sentences above, the alphabet, and some of the embedded corpus."""
    corpus = build_corpus(5, CorpusSizes(pairs=200, valid=1, test=1, monolingual=1))
    embedded = [text for pair in corpus.parallel["train"] for text in pair]
    alphabet = [
        string.ascii_letters,
        string.ascii_letters[::-1],
    ]  # each letter first in a word and inside one
    return [*(text for side in SENTENCES.values() for text in side), *alphabet, *embedded]


def write_config(directory, model_type, positions=64):
    directory.mkdir(parents=True, exist_ok=True)
    config = {"model_type": model_type, "max_position_embeddings": positions, "pad_token_id": 1}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def wordpiece(lines, lowercase, size=500):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        lines,
        trainers.WordPieceTrainer(
            vocab_size=size, special_tokens=list(BERT_TOKENS.values()), show_progress=False
        ),
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def byte_level(lines, add_prefix_space, size=600):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        lines,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(ROBERTA_TOKENS.values()),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def wrap(tokenizer, tokens):
    """Return a Hugging Face tokenizer with special tokens."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{f"{name}_token": token for name, token in tokens.items()}
    )


def write_wordpiece(directory, lines, lowercase):
    wrap(wordpiece(lines, lowercase), BERT_TOKENS).save_pretrained(directory)
    return write_config(directory, "bert")


def write_byte_level(directory, lines, add_prefix_space):
    wrap(byte_level(lines, add_prefix_space), ROBERTA_TOKENS).save_pretrained(directory)
    return write_config(directory, "roberta")


_FAIRSEQ_LIKE = {"unk_id": 0, "bos_id": 1, "eos_id": 2}
_ALBERT_LIKE = {
    **{"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1},
    **{"control_symbols": ["[CLS]", "[SEP]"], "user_defined_symbols": ["[MASK]"]},
}
_DEBERTA_LIKE = {
    **{"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "pad_piece": "[PAD]"},
    **{"bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"},
}
FAMILIES = {  # model type -> file name, ids of special pieces
    "xlm-roberta": ("sentencepiece.bpe.model", _FAIRSEQ_LIKE),
    "camembert": ("sentencepiece.bpe.model", _FAIRSEQ_LIKE),
    "albert": ("spiece.model", _ALBERT_LIKE),
    "deberta-v2": ("spm.model", _DEBERTA_LIKE),
    "bert": ("tokenizer.model", {**_ALBERT_LIKE, "user_defined_symbols": ["[MASK]", "NUMBER"]}),
}


def write_sentencepiece(directory, lines, family="xlm-roberta", model_type="unigram", size=400, **changes):
    """Write a directory that has a sentencepiece model and no other tokenizer file; returns its processor."""
    name, ids = FAMILIES[family]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        **{"model_type": model_type, "vocab_size": size, "character_coverage": 1.0, "num_threads": 1},
        **{"minloglevel": 2, **ids, **changes},
    )
    write_config(directory, family)
    (directory / name).write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
