"""A tiny unlabelled corpus, tiny masked language models of its words, and flags of short trainings."""

import random

import torch
from tiny_classification import BAD, FILLERS, GOOD, make_tokenizer, sentences
from transformers import BertConfig, BertForMaskedLM, BertModel

WORDS = [*GOOD, *BAD, *FILLERS]


def write_text(folder, rows=60, valid=12):
    """Write train.txt and valid.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", rows, 1), ("valid", valid, 2)):
        lines = [text for text, _ in sentences(count, seed)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_masked_lm(folder, *, layers=4, width=16, heads=2, seed=0, head=True, extra=(), positions=40):
    """Write a random BERT with a masked-LM head, or without, far enough from zero to have opinions."""
    tokenizer = make_tokenizer(extra)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * width,
        max_position_embeddings=positions,
    )
    torch.manual_seed(seed)
    model = (BertForMaskedLM if head else BertModel)(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def pretraining(data, save_dir, *flags, criterion="distilbert_kd", arch="distilbert"):
    """Flags of a short training on unlabelled text."""
    return (
        *(data, "--task", "masked_lm_kd", "--criterion", criterion, "--arch", arch, "--cpu"),
        *("--optimizer", "bert_adamw", "--lr", 0.01, "--max-tokens", 100, "--max-update", 2, "--seed", 1),
        *("--save-dir", save_dir, "--no-epoch-checkpoints", "--no-progress-bar", *flags),
    )


def lines_of(count, seed=0):
    """Return lines of random words."""
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randint(3, 12))) for _ in range(count)]
