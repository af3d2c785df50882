"""Tiny fairseq translators on a data-bin of random words, and what they say, one pair at a time."""

import torch
from fairseq_runs import TINY_STUDENT, run_train
from tiny_corpus import write_split

LSTM = ("--arch", "lstm", "--encoder-embed-dim", 8, "--decoder-embed-dim", 8, "--encoder-hidden-size", 8)
LSTM = (*LSTM, "--decoder-hidden-size", 8, "--decoder-out-embed-dim", 8, "--optimizer", "adam", "--cpu")
ROWS = 37


def write_data(root, *, rows=ROWS, valid=9):
    """Write a data-bin with random pairs of up to 12 words."""
    write_split(root, "train", rows, seed=0)
    return write_split(root, "valid", valid, seed=1)


def train_translator(save_dir, data, *flags, model=TINY_STUDENT, updates=2, task="translation"):
    """Train a translator for a few updates and return its checkpoint."""
    run_train(
        *(data, "--task", task, "--criterion", "cross_entropy", *model, "--save-dir", save_dir),
        *("--max-tokens", 200, "--max-update", updates, "--disable-validation", "--no-epoch-checkpoints"),
        *flags,
    )
    return save_dir / "checkpoint_last.pt"


def first_step(data, save_dir, *flags):
    """Train a student for one epoch without moving it and return its loss terms, as the log has them."""
    run_train(
        *(data, "--task", "translation_kd", *flags, "--criterion", "soft_target_kd", *TINY_STUDENT),
        *("--kd-topk", 4, "--kd-temperature", 3, "--max-tokens", 90, "--seed", 5, "--disable-validation"),
        *("--max-epoch", 1, "--lr", 1e-9, "--save-dir", save_dir, "--no-epoch-checkpoints"),
    )
    state = torch.load(save_dir / "checkpoint_last.pt", weights_only=False)
    meters = dict((entry[1], entry[3]) for entry in state["extra_state"]["metrics"]["train"])
    return {
        name: float(meters[name]["sum"] / meters[name]["count"]) for name in ("loss", "kd_loss", "nll_loss")
    }


@torch.no_grad()
def naive_logits(model, source, target):
    """Return the logits ``(L, V)`` of a target under teacher forcing, the pair alone in its batch."""
    source, target = (torch.from_numpy(row.astype("int64"))[None] for row in (source, target))
    history = target.roll(1, 1)
    return model.eval()(source, torch.tensor([source.size(1)]), history)[0][0]
