#!/usr/bin/env bash
# Package:  TextBrewer 0.2.1.post1 with torch 2.13.0
#
# Expected: DistillationConfig(is_caching_logits=True) keeps what the teacher says, so that it is asked once; the batches are
#           those of the DataLoader, which with shuffle=True are other sentences together in each epoch.
# Happens:  whole batches are kept beside the teacher's logits. From then on the DataLoader is never asked again: all epochs
#           have the batches of its first pass, in another order. Its shuffling, and whatever else it does anew in each epoch
#           (augmentation, other masks, a sampler's weights), stands still.
# Meaning:  the flag changes the training and not its speed alone; nothing says so.
#
# Output seen:
#   without caching: 4 epochs, passes of the loader 4, different batches 32
#   with caching: 4 epochs, passes of the loader 1, different batches 8
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 tensorboardX==2.6.5 numpy tqdm
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-deps textbrewer==0.2.1.post1

cat > frozen.py <<'PYTHON'
import torch
from textbrewer import BasicDistiller, DistillationConfig, TrainingConfig

EPOCHS = 4


class Passes(torch.utils.data.DataLoader):
    """A loader that counts how often it is gone over."""

    count = 0

    def __iter__(self):
        self.count += 1
        return super().__iter__()


class Model(torch.nn.Module):
    """Scores of two classes; it notes which rows it has seen together."""

    def __init__(self, seen):
        super().__init__()
        self.layer, self.seen = torch.nn.Linear(1, 2), seen

    def forward(self, rows):
        self.seen.append(tuple(sorted(rows.flatten().tolist())))
        return self.layer(rows)


def adapt(batch, output):
    return {"logits": output}


def run(caching):
    torch.manual_seed(1)
    seen = []
    rows = torch.arange(64.0)[:, None]  # (64, 1)
    loader = Passes(torch.utils.data.TensorDataset(rows), 8, shuffle=True)
    student = Model(seen)
    config = DistillationConfig(is_caching_logits=caching)
    training = TrainingConfig(device="cpu", output_dir="saved")
    distiller = BasicDistiller(training, config, Model([]), student, adapt, adapt)
    with distiller:
        distiller.train(torch.optim.SGD(student.parameters(), lr=0.001), loader, num_epochs=EPOCHS)
    print(
        f"{'with' if caching else 'without'} caching: {EPOCHS} epochs, passes of the loader {loader.count}, "
        f"different batches {len(set(seen))}"
    )
    return loader.count, len(set(seen))


assert run(caching=False) == (EPOCHS, 32)
assert run(caching=True) == (1, 8)
PYTHON
venv/bin/python frozen.py 2>/dev/null || { echo "TextBrewer has changed: see the assertion in the script" >&2; exit 1; }
