"""A teacher that starts from random weights learns to translate, and the dump writes down what it knows."""

import numpy as np
from fairseq_runs import run_train
from tiny_teacher import write_bert

from cmlm_kd.cli import main
from cmlm_kd.data.translation.vocabulary import EOS
from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.store import SoftTargetStore

WORDS = 12
LENGTH = 5


def write_pairs(folder, split, count, seed):
    """Write sentences of random words and their translations: only the source tells a masked word."""
    words = np.random.default_rng(seed).integers(0, WORDS, (count, LENGTH))
    for language, letter in (("de", "q"), ("en", "x")):
        lines = [" ".join(f"{letter}{chr(97 + word)}" for word in sentence) for sentence in words]
        (folder / f"{split}.{language}").write_text("\n".join(lines) + "\n")
        yield from lines


def test_a_tiny_teacher_learns_word_translation(tmp_path):
    text = [
        line
        for seed, (split, count) in enumerate({"train": 400, "valid": 60}.items())
        for line in write_pairs(tmp_path, split, count, seed)
    ]
    write_bert(tmp_path / "bert", text, layers=2, hidden_size=64, max_positions=20)
    flags = ["-s", "de", "-t", "en", "--trainpref", tmp_path / "train", "--validpref", tmp_path / "valid"]
    flags += ["--teacher", tmp_path / "bert", "--destdir", tmp_path / "data"]
    assert main(["prepare", *map(str, flags)]) == 0
    run_train(
        *(tmp_path / "data", "--task", "cmlm", "--criterion", "cmlm", "--arch", "bert_cmlm", "--cpu"),
        *("--optimizer", "bert_adamw", "--lr", 3e-3, "--lr-scheduler", "polynomial_decay", "--dropout", 0),
        *("--warmup-updates", 30, "--total-num-update", 250, "--max-update", 250, "--batch-size", 50),
        *("--mask-probability", 0.3, "--seed", 1, "--num-workers", 0, "--no-epoch-checkpoints"),
        *("--disable-validation", "--save-dir", tmp_path / "save", "--log-file", tmp_path / "log"),
    )
    dump = [tmp_path / "data", "--teacher", tmp_path / "save" / "checkpoint_last.pt", "--split", "valid"]
    assert main(["dump", *map(str, dump), "--output", str(tmp_path / "store")]) == 0
    store = SoftTargetStore.open(tmp_path / "store")
    target = Databin.open(tmp_path / "data" / "valid.de-en.en")
    best = np.concatenate([store[row].ids[:, 0] for row in range(len(store))])
    words = target.tokens != EOS
    assert words.sum() == 60 * LENGTH
    assert (best == target.tokens)[words].mean() > 0.9  # by chance: 1 in 12
