"""A data-bin with two random teachers, and dumps of it."""

import numpy as np
import torch
from tiny_encoders import write_encoder
from tiny_teacher import write_bert
from torch import nn

from cmlm_kd.cli import main
from cmlm_kd.data.translation.vocabulary import Vocabulary
from cmlm_kd.models.cmlm import ConditionalMaskedLM
from cmlm_kd.models.cmlm_loading import save_teacher

ROWS, TOO_LONG = 26, 11
POSITIONS = 48


def write_corpus(folder):
    """Write pairs of 1 to 20 words; one of them is longer than the teacher's positions."""
    generator = np.random.default_rng(0)
    words = {
        "de": ["ein", "hund", "mann", "sieht", "und", "geht"],
        "en": ["a", "dog", "man", "sees", "and", "goes"],
    }
    for language, known in words.items():
        lengths = generator.permutation(np.resize(np.arange(1, 21), ROWS))
        lengths[:3] = 1, 6, 7  # targets about as long as the stride
        lengths[TOO_LONG] = 30
        lines = [" ".join(generator.choice(known, length)) for length in lengths]
        (folder / f"train.{language}").write_text("\n".join(lines) + "\n")


def write_teacher(root, data, name, seed):
    """Save a teacher with random weights of some size, so that its beliefs differ from place to place."""
    pieces = len((root / "bert" / "vocab.txt").read_text().splitlines())
    write_encoder(root / "encoder", vocab_size=pieces, max_position_embeddings=POSITIONS, seed=seed)
    target_ids = Vocabulary.load(data, "en").teacher_ids
    teacher = ConditionalMaskedLM.from_pretrained(str(root / "encoder"), target_ids)
    torch.manual_seed(seed)
    nn.init.normal_(teacher.projection.weight)
    save_teacher(teacher, data, root / name)


def write_road(root):
    """Write a data-bin and two teachers."""
    write_corpus(root)
    write_bert(root / "bert", (root / "train.en").read_text().splitlines(), max_positions=POSITIONS)
    arguments = ["-s", "de", "-t", "en", "--trainpref", root / "train", "--teacher", root / "bert"]
    assert main(["prepare", *map(str, arguments), "--destdir", str(root / "data")]) == 0
    for seed in (1, 2):
        write_teacher(root, root / "data", f"teacher{seed}", seed)
    return root


def dump(road, output, *flags, teacher="teacher1"):
    arguments = ["dump", road / "data", "--teacher", road / teacher, "--output", output, *flags]
    return main([str(argument) for argument in arguments])


def small(*flags):
    """Small shards and batches, so that there are several of both."""
    return ("--shard-rows", 5, "--max-tokens", 100, "--topk", 3, *flags)


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}
