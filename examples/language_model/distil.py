"""Distil a causal language model into a smaller one with the same tokens: a store first, then a student.

python examples/language_model/distil.py dump TEACHER text.txt STORE
python examples/language_model/distil.py train STUDENT text.txt STORE OUTPUT [ALPHA [UPDATES]]
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

from cmlm_kd.api import TeacherBatch
from cmlm_kd.losses import IGNORED, sparse_kd_loss
from cmlm_kd.store import ShardRows, SoftTargetStore, StoreHeader, StoreWriter
from cmlm_kd.system.hugging_face import load_saved

TOP_K, TOKENS, BATCH = 8, 512, 16


def read(model, text):
    """Return the tokens of each line, end of sentence included, and hashes of vocabulary and text."""
    tokenizer = load_saved(AutoTokenizer, model)
    lines = Path(text).read_text(encoding="utf-8").splitlines()
    rows = [[*tokenizer(line).input_ids[: TOKENS - 1], tokenizer.eos_token_id] for line in lines if line]
    contents = {"dictionary_hash": sorted(tokenizer.get_vocab().items()), "corpus_hash": rows}
    hashes = {name: hashlib.sha256(repr(value).encode()).hexdigest() for name, value in contents.items()}
    return [torch.tensor(row) for row in rows], hashes


@torch.inference_mode()
def dump(teacher, text, store):
    """Write what a teacher believes of each token but a line's first; an interrupted dump goes on."""
    rows, hashes = read(teacher, text)
    model = load_saved(AutoModelForCausalLM, teacher, dtype="float32").eval()
    digest = hashlib.sha256(b"".join(value.numpy().tobytes() for value in model.state_dict().values()))
    sizes = {"rows": len(rows), "k": TOP_K, "vocabulary_size": model.config.vocab_size, "shard_rows": 1000}
    header = StoreHeader(**sizes, **hashes, tail_temperatures=(1.0,), teacher_hash=digest.hexdigest())
    with StoreWriter.create_or_resume(store, header) as writer:
        for plan in writer.pending_shards():
            lines = rows[plan.first_row : plan.first_row + plan.rows]
            logits = torch.cat([model(line[None, :-1]).logits[0] for line in lines])  # (tokens, V)
            best, ids = logits.topk(TOP_K)  # (tokens, k)
            tail = logits.scatter(1, ids, float("-inf")).logsumexp(1, keepdim=True)  # (tokens, 1)
            lengths = np.array([len(line) - 1 for line in lines])
            values = (value.half().numpy() for value in (best, tail))
            writer.write_shard(plan, ShardRows(lengths, ids.numpy(), *values))
        writer.finish()


@torch.inference_mode()
def check_head(model, ids, head):
    """Refuse a model that scales or caps its logits: the loss knows of a matrix product alone."""
    logits, hidden = model(ids).logits, model.base_model(ids).last_hidden_state
    if not torch.allclose(head(hidden), logits, atol=1e-3):
        raise SystemExit(f"{type(model).__name__} does more to its logits than a matrix product")


def train(student, text, store, output, alpha=0.5, updates=1000):
    """Train a student on a store; with alpha 0 on the text alone."""
    rows, hashes = read(student, text)
    soft_targets = SoftTargetStore.open(store, checksums=True)
    if any(getattr(soft_targets.manifest.header, name) != value for name, value in hashes.items()):
        raise SystemExit(f"{store} is of other text, or of a teacher with other tokens, than {student}'s")
    model = load_saved(AutoModelForCausalLM, student, dtype="float32")
    head, optimizer = model.get_output_embeddings(), torch.optim.AdamW(model.parameters(), 5e-4, fused=True)
    check_head(model.eval(), rows[0][None], head)
    model.train()
    draw = torch.Generator().manual_seed(1)
    bias = getattr(head, "bias", None)
    for update in range(int(updates)):
        chosen = torch.randint(len(rows), (BATCH,), generator=draw)  # (B,)
        ids = pad_sequence([rows[row] for row in chosen], batch_first=True, padding_value=IGNORED)  # (B, T+1)
        inputs, targets = ids[:, :-1].clamp(min=0), ids[:, 1:]  # (B, T)
        mask = ids[:, :-1].ne(IGNORED)  # (B, T)
        hidden = model.base_model(inputs, attention_mask=mask).last_hidden_state  # (B, T, d)
        batch = TeacherBatch(chosen, target=targets, padding_idx=IGNORED)
        beliefs = soft_targets.signal(batch).soft_targets  # (B, T, k)
        loss = sparse_kd_loss(hidden, head.weight, bias, targets, beliefs, alpha=float(alpha))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if update % 100 == 0:
            print(f"{update}: {loss.item():.3f} nats per token", flush=True)
    model.save_pretrained(output)
    load_saved(AutoTokenizer, student).save_pretrained(output)


if __name__ == "__main__":
    {"dump": dump, "train": train}[sys.argv[1]](*sys.argv[2:])
