"""Runs of ``--task classification_kd`` on the tiny sentiment corpus."""

import json
import logging

from fairseq_runs import run_train
from tiny_classification import LABELS, classification, write_bert, write_sst2

from cmlm_kd.cli import main

PROGRESS = logging.getLogger("fairseq.logging.progress_bar")  # it renames itself, but stays the same object


def write_root(root):
    """Write a corpus, an encoder, a teacher and one whose classes stand in another order."""
    write_sst2(root / "data")
    write_bert(root / "encoder", labels=None)
    write_bert(root / "teacher")
    write_bert(root / "swapped", labels=LABELS[::-1], seed=1)
    return root


def logged_run(log, *flags):
    """Run fairseq-train with its log in a file of its own."""
    level = PROGRESS.level
    PROGRESS.setLevel(logging.INFO)
    try:
        run_train(*flags, "--log-file", log)
    finally:
        PROGRESS.setLevel(level)
        for handler in [found for found in PROGRESS.handlers if isinstance(found, logging.FileHandler)]:
            PROGRESS.removeHandler(handler)
            handler.close()


def fine_tune(root):
    """Train a student without a teacher for two updates, its log in plain.log; returns its export."""
    logged_run(root / "plain.log", *classification(root / "data", root / "plain", bert=root / "encoder"))
    assert (
        main(["export", str(root / "plain" / "checkpoint_last.pt"), "--output", str(root / "exported")]) == 0
    )
    return root / "exported"


def distilling(root, save_dir, *flags, teacher="teacher", criterion="pkd", data="data", **settings):
    """Flags of a short training with a teacher of the root, or several joined by colons."""
    names = ":".join(str(root / name) for name in teacher.split(":"))
    layers = ("--layers", 2) if criterion == "pkd" else ()
    return classification(
        root / data,
        save_dir,
        "--teacher",
        names,
        *layers,
        *flags,
        bert=root / "teacher",
        criterion=criterion,
        **settings,
    )


def steps(root, tmp_path, *flags, updates=3, **settings):
    """The loss and terms of each update, as fairseq-train logs them."""
    log = tmp_path / f"{len(list(tmp_path.iterdir()))}.log"
    logged_run(
        log,
        *distilling(
            root,
            tmp_path / log.stem,
            *("--log-interval", 1, "--log-format", "json", "--no-save", "--dropout", 0),
            *("--max-update", updates, "--disable-validation", *flags),
            **settings,
        ),
    )
    found = [
        json.loads(line[line.index("{") :]) for line in log.read_text().splitlines() if '"gnorm"' in line
    ]
    return [step for step in found if "loss" in step]
