#!/usr/bin/env bash
# Package:  transformers 5.23.0 with accelerate 1.15.0 and torch 2.13.0
#
# Expected: gradient_accumulation_steps=4 with batches of 2 trains as one batch of 8 does, up to the last bits: Trainer
#           divides, be it by the steps or, where the model's loss takes num_items_in_batch, by the items.
# Happens:  Trainer does not divide by the steps if the model's forward takes **kwargs, since it believes then that the
#           loss is divided by the number of items. Classifiers (BERT, DistilBERT, ...) and translators (Marian, M2M100,
#           BART, T5) take **kwargs, and their loss is a plain mean: the gradient, and the loss in the log, are as many
#           times too large as there are steps. A causal language model (GPT-2), whose loss does divide, is right. An own
#           compute_loss, as every distillation writes it, has the same fate when it returns a mean.
# Meaning:  Adam hides the factor, but max_grad_norm (1 by default) cuts what was no large gradient, SGD takes steps that
#           are as much too long, and logged losses of two machines cannot be compared. Set model_accepts_loss_kwargs
#           to False on the Trainer after it is made, or divide in compute_loss.
#
# Output seen (norm of the gradient of the first update, the same 8 rows; without clipping):
#   BertForSequenceClassification  1 x 8: 0.036   4 x 2: 0.144   times 4.00
#   MarianMTModel                  1 x 8: 0.634   4 x 2: 2.534   times 4.00
#   BERT, own compute_loss         1 x 8: 0.036   4 x 2: 0.144   times 4.00   told otherwise: 0.036
#   GPT2LMHeadModel                1 x 8: 1.015   4 x 2: 1.015   times 1.00
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-compile torch==2.13.0 \
    transformers==5.23.0 accelerate==1.15.0

cat > accumulate.py <<'PYTHON'
import torch
from torch.nn.functional import cross_entropy
from transformers import (
    BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, MarianConfig, MarianMTModel, Trainer,
    TrainingArguments,
)  # fmt: skip

torch.set_num_threads(1)


class OwnLoss(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = cross_entropy(outputs.logits, labels)
        return (loss, outputs) if return_outputs else loss


def rows(kind):
    draw = torch.Generator().manual_seed(0)
    for i in range(8):
        words = torch.randint(5, 50, (6,), generator=draw)
        target = torch.randint(5, 50, (4,), generator=draw)
        yield {
            "input_ids": words,
            "attention_mask": torch.ones_like(words),
            "labels": {"class": torch.tensor(i % 2), "translation": target, "itself": words}[kind],
        }


def norm(trainer, build, config, kind, size, steps, told=False):
    torch.manual_seed(0)
    arguments = TrainingArguments(
        output_dir="out", per_device_train_batch_size=size, gradient_accumulation_steps=steps, max_steps=1, logging_steps=1,
        max_grad_norm=1e9, report_to="none", save_strategy="no", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    run = trainer(build(config), arguments, train_dataset=list(rows(kind)))
    if told:  # that the model does not divide
        run.model_accepts_loss_kwargs = False
    run.train()
    return next(entry["grad_norm"] for entry in run.state.log_history if "grad_norm" in entry)


bert = BertConfig(
    vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip
marian = MarianConfig(
    vocab_size=50, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
    encoder_ffn_dim=16, decoder_ffn_dim=16, dropout=0.0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2,
    max_position_embeddings=32,
)  # fmt: skip
gpt2 = GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
changed = []
for name, times, *case in (
    ("BertForSequenceClassification", 4, Trainer, BertForSequenceClassification, bert, "class"),
    ("MarianMTModel", 4, Trainer, MarianMTModel, marian, "translation"),
    ("BERT, own compute_loss", 4, OwnLoss, BertForSequenceClassification, bert, "class"),
    ("GPT2LMHeadModel", 1, Trainer, GPT2LMHeadModel, gpt2, "itself"),
):
    whole, parts = norm(*case, 8, 1), norm(*case, 2, 4)
    line = f"{name:<30} 1 x 8: {whole:.3f}   4 x 2: {parts:.3f}   times {parts / whole:.2f}"
    good = abs(parts / whole - times) < 0.01
    if case[0] is OwnLoss:
        told = norm(*case, 2, 4, told=True)
        line += f"   told otherwise: {told:.3f}"
        good = good and abs(told / whole - 1) < 0.01
    print(line)
    if not good:
        changed.append(name)
assert not changed, f"the behaviour has changed: {changed}"
PYTHON
venv/bin/python -W ignore accumulate.py > output 2> log || { tail -20 log; exit 1; }
grep '1 x 8' output
