#!/usr/bin/env bash
# Package:  ve-fairseq 0.12.3, fairseq/logging/metrics.py
#
# Expected: metrics.aggregate() is a context manager, so that whatever leaves its block by an exception finds the
#           aggregators as they were. With new_root=True everything outside is put aside, and comes back.
# Happens:  there is no try/finally in it. After an exception that somebody catches (a probe of the validation, an
#           out-of-memory that is skipped, a test) the aggregator stays active, and with new_root=True the others do
#           not come back: what is logged from then on goes to an aggregator that nobody reads, and the training log
#           shows the values of before, or none.
# Meaning:  whoever calls a task's valid_step or reduce_metrics inside aggregate() and goes on after an exception sets
#           metrics._active_aggregators and metrics._active_aggregators_cnt back by hand.
#
# Output seen:
#   no exception:  train sees loss 2.0
#   an exception:  train sees loss 1.0  still active: 1 aggregator, not that of the training
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-deps ve-fairseq==0.12.3

cat > aggregate.py <<'PYTHON'
import glob
import sys
import types

# The module alone, with a stand-in for the two names of torch that it uses: the package imports much else.
torch = types.ModuleType("torch")
torch.Tensor, torch.is_tensor = type("Tensor", (), {}), lambda value: False
sys.modules["torch"] = torch
package = types.ModuleType("alone")
package.__path__ = glob.glob("venv/lib/python3*/site-packages/fairseq/logging")
sys.modules["alone"] = package
from alone import metrics


def loss_of_train(fails):
    """Log inside a block of its own, then in the training; returns what the training's aggregator has."""
    metrics.reset()
    with metrics.aggregate("train") as train:
        metrics.log_scalar("loss", 1.0)
        try:
            with metrics.aggregate(new_root=True):
                metrics.log_scalar("loss", 50.0)
                if fails:
                    raise RuntimeError("of the validation")
        except RuntimeError:
            pass
        active = list(metrics._active_aggregators)
        metrics.log_scalar("loss", 2.0)
        return train["loss"].val, active


loss, active = loss_of_train(fails=False)
print("no exception:  train sees loss", loss)
assert loss == 2.0 and "train" in active
loss, active = loss_of_train(fails=True)
print("an exception:  train sees loss", loss, " still active:", len(active), "aggregator, not that of the training")
assert loss != 2.0 and "train" not in active
PYTHON
venv/bin/python aggregate.py
