"""Translators of six words, corpora with right and with meaningless targets, and how well one translates."""

import numpy as np
from fairseq_runs import run_train

from cmlm_kd.cli import main
from cmlm_kd.fairseq_files.databin import Databin, write_databin
from cmlm_kd.store import SoftTargetStore, reference_accuracy

WORDS, EOS = 6, 2
SIZES = (
    *("--encoder-layers", 1, "--decoder-layers", 1, "--encoder-embed-dim", 32, "--decoder-embed-dim", 32),
    *("--encoder-ffn-embed-dim", 32, "--decoder-ffn-embed-dim", 32),
    *("--encoder-attention-heads", 2, "--decoder-attention-heads", 2, "--dropout", 0),
)
MODEL = ("--arch", "transformer_iwslt_de_en", *SIZES, "--optimizer", "adam", "--lr", 1e-2, "--cpu")


def write_pairs(data, split, count, share_by_lot, seed):
    """Write sentences of 2 or 3 words, translated word by word; a share of the words is drawn by lot."""
    generator = np.random.default_rng(seed)
    translation = np.random.default_rng(0).permutation(WORDS)
    sources = [generator.integers(0, WORDS, generator.integers(2, 4)) for _ in range(count)]
    targets = []
    for source in sources:
        by_lot = generator.random(len(source)) < share_by_lot
        targets.append(np.where(by_lot, generator.integers(0, WORDS, len(source)), translation[source]))
    for language, sentences in (("de", sources), ("en", targets)):
        rows = [np.append(sentence + 4, EOS) for sentence in sentences]
        write_databin(data / f"{split}.de-en.{language}", rows, WORDS + 4)
        (data / f"dict.{language}.txt").write_text("".join(f"w{i} 1\n" for i in range(WORDS)))


def train(root, name, data, *flags, updates=240, criterion="soft_target_kd"):
    run_train(
        *(root / data, "--task", "translation_kd", *MODEL, "--batch-size", 48, "--seed", 1),
        *("--max-update", updates, "--save-dir", root / name, "--disable-validation"),
        *("--no-epoch-checkpoints", "--no-progress-bar", "--kd-topk", 4, "--criterion", criterion, *flags),
    )
    return root / name / "checkpoint_last.pt"


def dump(root, output, teacher, data, split="train"):
    arguments = [root / data, "--teacher", teacher, "--output", root / output, "--split", split, "--topk", 4]
    assert main(["dump", *map(str, arguments)]) == 0
    return root / output


def accuracy(root, checkpoint):
    """Return how often a model's best entry is the right translation of new sentences, one word at a time."""
    store = dump(root, f"said-by-{checkpoint.parent.name}", checkpoint, "clean", "test")
    target = Databin.open(root / "clean" / "test.de-en.en")
    return reference_accuracy(SoftTargetStore.open(store), target)[0]


def make_corpora(root):
    """Make a teacher of mostly right translations, and text whose targets say nothing."""
    for data in ("clean", "by-lot"):
        (root / data).mkdir()
    write_pairs(root / "clean", "train", 1500, 0.3, 1)
    write_pairs(root / "clean", "test", 100, 0, 2)
    write_pairs(root / "by-lot", "train", 1500, 1, 3)
    train(root, "teacher", "clean", "--soft-targets", "none", "--kd-alpha", 0)
    return root
