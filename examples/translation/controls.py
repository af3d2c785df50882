"""Soft targets without knowledge, to compare a teacher with: as sure of the reference, as spread over others.

python examples/translation/controls.py STORE DATA_BIN SPLIT random|even OUTPUT

random: each of the teacher's entries but the reference becomes some other token of the vocabulary. Its
        probability, and with it the entropy, stays. What is gone is which tokens are alike.
even:   the reference, and all other k - 1 entries, random ones, equally probable; the reference's share is
        the one that gives the teacher's entropy. It is label smoothing that knows where a teacher is unsure.

A student that learns as much from these as from the teacher learns no more from it than to be less sure.
"""

import dataclasses
import hashlib
import sys
from pathlib import Path

import numpy as np

from cmlm_kd.store import ShardRows, SoftTargetStore, StoreWriter
from cmlm_kd.store.corpus import chosen_languages, open_pair
from cmlm_kd.store.format import LOWEST_LOGIT
from cmlm_kd.store.manifest import TEACHER_KIND
from cmlm_kd.store.statistics import tail_nearest_to_one

SEED = 1
STEPS = 60  # of bisection; float64 has no more


def others(chance, references, vocabulary, count):
    """Return random tokens that are not the reference, distinct at each position: ``(tokens, count)``."""
    # A random cut into the other V - 1 tokens, walked with a random stride that meets each of them once.
    strides = np.array([step for step in range(1, vocabulary - 1) if np.gcd(step, vocabulary - 1) == 1])
    starts = chance.integers(vocabulary - 1, size=(len(references), 1))  # (tokens, 1)
    walked = chance.choice(strides, size=(len(references), 1)) * np.arange(count)  # (tokens, count)
    ranks = (starts + walked) % (vocabulary - 1)
    return ranks + (ranks >= references[:, None])


def random_tokens(chance, ids, references, vocabulary):
    """Return tokens for the teacher's probabilities: the reference stays, all others are random ones."""
    made = others(chance, references, vocabulary, ids.shape[1])  # (tokens, k)
    return np.where(ids == references[:, None], ids, made)


def entropy(log_masses):
    """Return the entropy of each row in nats, ``(tokens,)``; masses need not add up to 1."""
    log_probs = log_masses - np.logaddexp.reduce(log_masses, axis=1, keepdims=True)
    return -np.sum(np.exp(log_probs) * np.maximum(log_probs, -1e4), axis=1)  # 0 log 0 is 0


def even(chance, references, vocabulary, wanted, count):
    """Return k tokens, the reference first, and logits of the given entropies ``(tokens,)``."""
    low, high = np.full(len(references), 1 / count), np.ones(len(references))  # probability of the reference
    for _ in range(STEPS):  # the entropy falls from log k to 0
        middle = (low + high) / 2
        rest = np.log(np.maximum(1 - middle, 1e-300) / (count - 1))
        too_flat = -middle * np.log(middle) - (1 - middle) * rest > wanted
        low, high = np.where(too_flat, middle, low), np.where(too_flat, high, middle)
    ids = np.concatenate([references[:, None], others(chance, references, vocabulary, count - 1)], axis=1)
    rest = np.log(np.maximum(1 - high, 1e-300) / (count - 1))  # (tokens,)
    logits = np.repeat(np.maximum(rest, LOWEST_LOGIT)[:, None], count, axis=1)  # (tokens, k)
    logits[:, 0] = np.log(high)
    return ids, logits.astype(np.float16)


def write(store, data, split, kind, output):
    """Write the control of a store; one that was interrupted goes on."""
    given = SoftTargetStore.open(store)
    _, target = open_pair(data, split, *chosen_languages(data, split, None, None))
    known = given.manifest.header
    header = dataclasses.replace(
        known,
        teacher_hash=hashlib.sha256(f"{kind} {SEED} {known.teacher_hash}".encode()).hexdigest(),
        settings={**known.settings, TEACHER_KIND: f"control ({kind} tokens) of a {known.teacher_kind}"},
    )
    column = tail_nearest_to_one(header.tail_temperatures)
    with StoreWriter.create_or_resume(output, header) as writer:
        for plan in writer.pending_shards():
            shard, chance = given.shards[plan.index], np.random.default_rng([SEED, plan.index])
            ids, logits, tail = (np.asarray(values) for values in shard[:3])  # (tokens, k or n)
            lengths = np.diff(shard.offsets)  # (rows,), 0 without a teacher row
            ends = target.offsets[plan.first_row : plan.first_row + plan.rows + 1]  # (rows + 1,)
            taught = np.repeat(lengths > 0, np.diff(ends))  # (tokens of all rows,)
            references = target.tokens[ends[0] : ends[-1]][taught].astype(np.int64)  # (tokens,)
            if kind == "random":
                ids = random_tokens(chance, ids, references, header.vocabulary_size)
            else:
                log_masses = np.concatenate([logits, tail[:, column, None]], axis=1, dtype=np.float64)
                ids, logits = even(chance, references, header.vocabulary_size, entropy(log_masses), header.k)
                tail = np.full_like(tail, LOWEST_LOGIT)
            writer.write_shard(plan, ShardRows(lengths, ids.astype(header.ids_dtype), logits, tail))
        writer.finish()


if __name__ == "__main__":
    if len(sys.argv) != 6 or sys.argv[4] not in ("random", "even"):
        raise SystemExit(__doc__)
    write(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4], Path(sys.argv[5]))
