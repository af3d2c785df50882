#!/usr/bin/env bash
# Package:  TextBrewer 0.2.1.post1 with transformers 5.23.0 and torch 2.13.0
#
# Expected: a distiller takes the batches of a DataLoader whose collate_fn is transformers' own DataCollatorWithPadding,
#           since a batch may be a dict and this one is a mapping of names to tensors.
# Happens:  the batch is a BatchEncoding, for which type(batch) is dict does not hold. The distiller goes over it as over a
#           tuple, so that the models are called with the names of the tensors as positional arguments; the teacher fails
#           with an AttributeError about a str. With collate_fn=lambda rows: dict(pad(rows)) the same batch is taken.
# Meaning:  wrap the collator. The message names neither batch nor collator.
#
# Output seen:
#   BatchEncoding: AttributeError: 'str' object has no attribute 'size'
#   dict of the same: 2 updates
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 tensorboardX==2.6.5 \
    tokenizers
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-deps textbrewer==0.2.1.post1

cat > names.py <<'PYTHON'
import torch
from textbrewer import BasicDistiller, DistillationConfig, TrainingConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
)

words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3}, unk_token="[UNK]"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
config = BertConfig(
    vocab_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
)
pad = DataCollatorWithPadding(tokenizer)
texts = ["good good", "bad", "bad bad bad", "good"]
rows = [{"input_ids": tokenizer(text)["input_ids"], "labels": i % 2} for i, text in enumerate(texts)]


def adapt(batch, output):
    return {"logits": output.logits}


def updates(collate):
    teacher, student = (BertForSequenceClassification(config) for _ in range(2))
    loader = torch.utils.data.DataLoader(rows, 2, collate_fn=collate)
    training = TrainingConfig(device="cpu", output_dir="saved")
    distiller = BasicDistiller(training, DistillationConfig(), teacher, student, adapt, adapt)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    steps = []
    with distiller:
        distiller.train(
            optimizer,
            loader,
            num_epochs=1,
            callback=lambda model, step: steps.append(step),
        )
    return steps[-1]


try:
    found = f"{updates(pad)} updates"
except Exception as error:
    found = f"{type(error).__name__}: {error}"
print(f"BatchEncoding: {found}")
print(f"dict of the same: {updates(lambda rows: dict(pad(rows)))} updates")
assert found == "AttributeError: 'str' object has no attribute 'size'"
PYTHON
venv/bin/python names.py 2>/dev/null || { echo "TextBrewer has changed: see the assertion in the script" >&2; exit 1; }
