"""A tiny FastBERT whose branches are random, but certain of different texts to different degrees."""

import torch
from tiny_classification import LABELS, write_bert

from cmlm_kd.models.fastbert.branch import BranchSettings
from cmlm_kd.models.fastbert.start import start_fastbert


def make_fastbert(folder, seed=0):
    """Return a model of four layers that counts as self-distilled; its encoder is written to ``folder``."""
    write_bert(folder, labels=None)
    torch.manual_seed(seed)
    model = start_fastbert(str(folder), LABELS, branches=BranchSettings(8, 2))
    for branch in model.classifiers:
        for layer in (branch.narrow, branch.value, branch.attended, branch.dense):
            torch.nn.init.normal_(layer.weight, 0, 0.6)
        torch.nn.init.normal_(branch.output.weight, 0, 0.5)
    model.begin_stage("branches")
    return model.for_inference()
