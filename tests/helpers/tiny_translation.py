"""A tiny fairseq translator that has learnt something, with the data-bin that it was trained on."""

from fairseq_runs import TINY_STUDENT, run_train
from tiny_prepare import run as prepare
from tiny_prepare import write_text
from tiny_teacher import write_bert

WORDS = {"hund": "dog", "mann": "man", "baum": "tree", "kind": "child", "haus": "house"}
VERBS = {"sieht": "sees", "sucht": "seeks", "hat": "has"}


def pairs():
    """Return all sentences of the toy language, each with its translation."""
    return [
        (f"der {a} {verb} das {b}", f"the {WORDS[a]} {VERBS[verb]} the {WORDS[b]}")
        for a in WORDS
        for b in WORDS
        for verb in VERBS
    ]


def write_student(folder, updates=60):
    """Train on the toy language; returns the checkpoint, whose data-bin is ``folder/data``."""
    german, english = zip(*pairs(), strict=True)
    write_text(folder / "train", german, english)
    write_text(folder / "valid", german[:6], english[:6])
    write_bert(folder / "bert", [*german, *english], max_positions=40)
    prepare(folder, folder / "bert")
    run_train(
        *(
            folder / "data",
            *TINY_STUDENT,
            "--task",
            "translation",
            "--criterion",
            "label_smoothed_cross_entropy",
        ),
        *("--lr", 0.02, "--dropout", 0, "--seed", 1, "--max-tokens", 600, "--max-update", updates),
        *("--save-dir", folder / "student", "--no-epoch-checkpoints", "--no-progress-bar"),
        *("--share-decoder-input-output-embed", "--decoder-normalize-before", "--encoder-normalize-before"),
    )
    return folder / "student" / "checkpoint_last.pt"
