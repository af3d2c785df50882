#!/usr/bin/env bash
# Package:  optuna 5.0.0
#
# Expected: MedianPruner stops the worse half of the trials, and PercentilePruner(75), "to keep the specified percentile of
#           the trials", the worst quarter, as long as trials are drawn alike (RandomSampler) and values say all.
# Happens:  a trial is compared with trials that were completed, and not with those that were pruned. Whoever is completed was
#           better than the median of the completed ones before it, so that the bar rises from trial to trial: the longer the
#           study, the fewer are kept. After 300 trials MedianPruner keeps 1 to 7 of a hundred, PercentilePruner(75) 15 to 29
#           (five seeds). SuccessiveHalvingPruner, which counts all that reached a step, keeps the half that it says.
# Meaning:  a study that is continued prunes more than a new one, and a long one leaves next to nobody the time to recover
#           from a slow start. Set n_warmup_steps to where values say something, take a higher percentile for longer
#           studies, or halve; and count the trials that are completed.
#
# Output seen (percent of the trials that are completed; values are drawn alike, and are the same at both steps):
#   trials                     6 to 100    101 to 300   301 to 1000
#   MedianPruner                    18%            7%            4%
#   PercentilePruner(75)            45%           19%           15%
#   PercentilePruner(25)            11%            2%            1%
#   halving                         55%           41%           48%
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-compile optuna==5.0.0

cat > prune.py <<'PYTHON'
import random

import optuna
from optuna.trial import TrialState

optuna.logging.set_verbosity(optuna.logging.ERROR)
PARTS = {"6 to 100": (5, 100), "101 to 300": (100, 300), "301 to 1000": (300, 1000)}


def completed(pruner, seed=0):
    generator = random.Random(seed)

    def objective(trial):
        value = generator.random()
        for step in range(2):
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    study = optuna.create_study(
        direction="maximize", pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=seed)
    )
    study.optimize(objective, n_trials=1000)
    done = [trial.state == TrialState.COMPLETE for trial in study.trials]
    return [100 * sum(done[a:b]) / (b - a) for a, b in PARTS.values()]


print(f"{'trials':<21}" + "".join(f"{name:>14}" for name in PARTS))
for name, pruner, share in (
    ("MedianPruner", optuna.pruners.MedianPruner(), 50),
    ("PercentilePruner(75)", optuna.pruners.PercentilePruner(75.0), 75),
    ("PercentilePruner(25)", optuna.pruners.PercentilePruner(25.0), 25),
    ("halving", optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2), 50),
):
    found = completed(pruner)
    print(f"{name:<21}" + "".join(f"{one:>13.0f}%" for one in found))
    if name == "halving":
        assert all(share - 10 < one < share + 10 for one in found)
    else:
        assert found[-1] < share / 2 and found[-1] < found[0] < share, "pruned trials count now"
PYTHON
venv/bin/python -W ignore prune.py
