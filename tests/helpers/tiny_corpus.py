"""Tiny data-bins and stores whose soft targets are a function of the sentence they belong to.

So a test recognises a teacher row beside the wrong sentence, or at the wrong place in it, from the batch
alone.
"""

import zlib

import numpy as np
import torch

from cmlm_kd.api.signals import SoftTargets
from cmlm_kd.fairseq_files.databin import Databin, write_databin
from cmlm_kd.store import Corpus, ShardRows, StoreHeader, StoreWriter

SYMBOLS = 40
VOCABULARY = SYMBOLS + 4  # fairseq's bos, pad, eos, unk come first
PAD, EOS = 1, 2
K = 3
TEMPERATURES = (1.0, 10.0)


def write_split(directory, split, rows, seed, languages=("de", "en"), max_length=12):
    """Write ``rows`` random pairs as a split of a data-bin, with the dictionaries."""
    generator = np.random.default_rng(seed)
    directory.mkdir(parents=True, exist_ok=True)
    for language in languages:
        lengths = generator.integers(1, max_length + 1, rows)
        sentences = [np.append(generator.integers(4, VOCABULARY, length), EOS) for length in lengths]
        write_databin(directory / f"{split}.{'-'.join(languages)}.{language}", sentences, VOCABULARY)
        (directory / f"dict.{language}.txt").write_text("".join(f"w{i} 1\n" for i in range(SYMBOLS)))
    return directory


def has_teacher_row(tokens):
    """Tell whether the tiny teacher could read this target sentence; about one in six it couldn't."""
    return zlib.crc32(np.asarray(tokens, np.int64).tobytes()) % 6 != 0


def soft_targets_of(tokens, k=K, temperatures=TEMPERATURES):
    """Return ids ``(L, k)``, logits ``(L, k)`` and tail ``(L, n)`` of a target sentence ``(L,)`` with EOS."""
    tokens = np.asarray(tokens, np.int64)
    generator = np.random.default_rng(zlib.crc32(tokens.tobytes()))
    ids = generator.permuted(np.tile(np.arange(4, VOCABULARY), (len(tokens), 1)), axis=1)[:, :k]
    logits = -np.sort(-generator.normal(0, 3, (len(tokens), k)), axis=1).astype(np.float16)
    return ids, logits, generator.normal(0, 1, (len(tokens), len(temperatures))).astype(np.float16)


def write_store(
    path,
    data,
    split="train",
    languages=("de", "en"),
    k=K,
    temperatures=TEMPERATURES,
    shard_rows=16,
    **changes,
):
    """Write the store of a split; ``changes`` go to its header."""
    corpus = Corpus.of_databin(data, split, *languages, dictionary=changes.pop("dictionary", None))
    targets = Databin.open(data / f"{split}.{'-'.join(languages)}.{languages[1]}")
    values = {
        "rows": len(targets),
        "k": k,
        "tail_temperatures": temperatures,
        "vocabulary_size": VOCABULARY,
        "dictionary_hash": corpus.dictionary_hash,
        "corpus_hash": corpus.corpus_hash,
        "teacher_hash": "7" * 64,
        "shard_rows": shard_rows,
    }
    with StoreWriter.create_or_resume(path, StoreHeader(**{**values, **changes})) as writer:
        for plan in writer.pending_shards():
            sentences = [targets[row] for row in range(plan.first_row, plan.first_row + plan.rows)]
            known = [sentence for sentence in sentences if has_teacher_row(sentence)]
            columns = zip(*(soft_targets_of(sentence, k, temperatures) for sentence in known), strict=True)
            lengths = np.array([len(sentence) * has_teacher_row(sentence) for sentence in sentences])
            writer.write_shard(plan, ShardRows(lengths, *(np.concatenate(column) for column in columns)))
        writer.finish()
    return path


def check_batch(sample, expect_teacher=True):
    """Compare every token of a training batch with what the tiny teacher says of its sentence.

    Returns the number of sentences with and without a teacher row.
    """
    teacher = SoftTargets.from_batch(sample["teacher"])
    counts = [0, 0]
    for row, target in enumerate(sample["target"]):
        inside = target.ne(PAD)  # (T,)
        tokens = target[inside].tolist()
        known = expect_teacher and has_teacher_row(tokens)
        counts[not known] += 1
        assert torch.equal(teacher.valid[row], inside & known)
        if known:
            ids, logits, tail = soft_targets_of(tokens, temperatures=teacher.tail_temperatures)
            np.testing.assert_array_equal(teacher.ids[row][inside].numpy(), ids)
            np.testing.assert_array_equal(teacher.logits[row][inside].numpy(), logits)
            np.testing.assert_array_equal(teacher.tail[row][inside].numpy(), tail)
    return counts
