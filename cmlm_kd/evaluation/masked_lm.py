"""Masked language models side by side on held-out text: their predictions of the same masked tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.api.needs import NOTHING_ELSE, Needs
from cmlm_kd.api.sources import TeacherBatch
from cmlm_kd.criteria.bert_mlm import BertMLMConfig, BertMLMCriterion
from cmlm_kd.criteria.masked_lm_loss import text_validation
from cmlm_kd.data.masking.batch import Masker, Masking, frame_batch
from cmlm_kd.data.masking.positions import MASK_PROBABILITY, SMOOTHING, batch_generator
from cmlm_kd.data.text.corpus import TokenizedCorpus, rows_of
from cmlm_kd.data.text.sources import TextFile, is_saved, saved_files
from cmlm_kd.errors import UserError, speaking_of
from cmlm_kd.system.devices import bfloat16_autocast
from cmlm_kd.system.text import table
from cmlm_kd.teachers.masked_lm import MaskedLMTeacher, load_masked_lm_teacher
from cmlm_kd.tokenization.loading import encoding_hash, vocabulary_hash
from cmlm_kd.tokenization.pieces import PieceTokenizer

LINES_AT_ONCE = 1000

BATCH = ("input_ids", "attention_mask", "masked_index", "target")


@dataclass(frozen=True)
class MaskedModel:
    """A model to measure.

    Attributes:
        name: what the table calls it.
        model: the model.
        signature: KD signature of a checkpoint that learnt from a teacher.
    """

    name: str
    model: MaskedLMTeacher
    signature: str | None = None


@dataclass(frozen=True)
class MaskedResult:
    """What was measured.

    Attributes:
        name: of the model.
        metrics: ``accuracy`` (per cent), ``loss`` (bits per masked token) and, with a teacher, ``agreement``
            (per cent).
        parameters: numbers learnt, tied ones once.
        signature: of the model.
    """

    name: str
    metrics: Mapping[str, float]
    parameters: int
    signature: str | None = None

    def to_document(self) -> dict[str, object]:
        """Return what ``--format json`` prints."""
        return {
            "name": self.name,
            "metrics": dict(self.metrics),
            "parameters": self.parameters,
            "kd_signature": self.signature,
        }


@dataclass(frozen=True)
class MaskedText:
    """Batches of text with masked tokens, the same for every model.

    Attributes:
        batches: ``input_ids (B, S)``, ``attention_mask (B, S)``, ``masked_index (M,)``, ``target (M,)``.
        masked: how many tokens are masked in all.
    """

    batches: Sequence[Mapping[str, Tensor]]
    masked: int


def load_measured(path: str) -> tuple[MaskedLMTeacher, str | None]:
    """Load a Hugging Face directory, or the model of a checkpoint with its KD signature.

    Raises:
        UserError: if it is neither, or a model without a masked-LM head.
    """
    if not Path(path).is_file():
        return load_masked_lm_teacher(path), None
    from cmlm_kd.criteria.signature import signature_by_teachers
    from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
    from cmlm_kd.models.export import check_vocabulary, masked_lm_of_checkpoint

    state = read_checkpoint(Path(path))
    with speaking_of(path):
        model = masked_lm_of_checkpoint(state)
        vocabulary = vocabulary_hash(measured_tokenizer(path).tokenizer)
        check_vocabulary(state, vocabulary, "the tokenizer that it names")
    described = model.describe(path, vocabulary)
    return MaskedLMTeacher(model, described).eval(), signature_by_teachers(state)


def measured_tokenizer(path: str) -> PieceTokenizer:
    """Return the tokenizer of what :func:`load_measured` loads."""
    if not Path(path).is_file():
        return PieceTokenizer.from_pretrained(path)
    from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
    from cmlm_kd.models.export import tokenizer_of_checkpoint

    return PieceTokenizer.from_pretrained(tokenizer_of_checkpoint(read_checkpoint(Path(path))))


def check_comparable(models: Sequence[MaskedLMTeacher], max_length: int) -> None:
    """Refuse models without a head, of other vocabularies, or of too few positions.

    Raises:
        UserError: naming the model.
    """
    for model in models:
        own, first = model.description, models[0].description
        if not model.predicts:
            raise UserError(
                f"{own.name} has no masked-LM head; train one with --task masked_lm_kd --criterion bert_mlm"
            )
        if own.tokenizer != first.tokenizer:
            raise UserError(
                f"{own.name} has another vocabulary than {first.name}, so that the same tokens cannot be "
                "masked; compare models of one vocabulary"
            )
        if model.max_length < max_length:
            longest = model.max_length
            raise UserError(f"{own.name} takes {longest} positions; pass --max-length {longest}")


def held_out_text(path: Path, column: str = "") -> list[TextFile]:
    """Return the text to measure on.

    Args:
        path: text file, plain or gzipped, or a data set that ``save_to_disk`` wrote, whose validation split
            is read if it has splits.
        column: of a saved data set; empty: the only column of strings, or ``text``.

    Raises:
        UserError: if a saved data set has no such split or column.
    """
    return saved_files(path, "valid", column) if is_saved(path) else [TextFile(path)]


def counts_of_training(tokenized: Path, tokenizer: PieceTokenizer) -> NDArray[np.int64]:
    """Return how often each token stands in a training text, ``(V,)``.

    Args:
        tokenized: the ``--tokenized`` folder of a training.
        tokenizer: of the models.

    Raises:
        UserError: if it is none, or has the tokens of another tokenizer.
    """
    corpus = TokenizedCorpus(tokenized / "train")
    if corpus.manifest.tokenizer != encoding_hash(tokenizer.tokenizer):
        raise UserError(
            f"{tokenized} has tokens of another tokenizer than the models; give the --tokenized folder that "
            "they were trained with"
        )
    return corpus.counts


def mask_text(
    files: Sequence[TextFile],
    tokenizer: PieceTokenizer,
    *,
    max_length: int,
    masking: Masking = "random",
    counts: NDArray[np.int64] | None = None,
    smoothing: float = SMOOTHING,
    probability: float = MASK_PROBABILITY,
    seed: int = 1,
    batch_tokens: int = 4096,
) -> MaskedText:
    """Read a text and mask tokens of it, as validation does with the same settings.

    ``frequency`` chooses over the whole text at once.

    Args:
        files: of held-out text, see :func:`held_out_text`; held in memory.
        tokenizer: of the models.
        max_length: positions of the longest row, [CLS] and [SEP] included.
        masking: which tokens.
        counts: ``(V,)`` of the training text, for ``frequency``; see :func:`counts_of_training`.
        smoothing: at least 0, for ``frequency``.
        probability: share of the tokens to mask, in (0, 1].
        seed: of the masks.
        batch_tokens: most positions of a batch, padding included.

    Raises:
        UserError: if there is no text, or none of it is masked.
    """
    rows = [row for file in files for row in _rows(file, tokenizer, max_length - 2)]
    if not rows:
        named = ", ".join(str(file.path) for file in files)
        raise UserError(f"no text in {named}; give a file with one sentence or paragraph per line")
    masker = Masker.of(masking, tokenizer, probability, counts, smoothing)
    masked = masker.mask(range(len(rows)), rows, lambda chosen: batch_generator(seed, 0, chosen))

    def frame(chosen: Sequence[int]) -> Mapping[str, Tensor]:
        return frame_batch([rows[i] for i in chosen], [masked[i] for i in chosen], tokenizer.special)

    batches: list[Mapping[str, Tensor]] = []
    chosen: list[int] = []
    for index in sorted(range(len(rows)), key=lambda row: len(rows[row])):
        if chosen and (len(chosen) + 1) * (len(rows[index]) + 2) > batch_tokens:
            batches.append(frame(chosen))
            chosen = []
        chosen.append(index)
    batches.append(frame(chosen))
    count = sum(len(batch["target"]) for batch in batches)
    if not count:
        raise UserError(
            f"none of the {sum(map(len, rows))} tokens in {', '.join(str(file.path) for file in files)} is "
            "masked: --masking frequency masks none that the training text lacks; give text that is like "
            "it, or --masking random"
        )
    return MaskedText(batches, count)


def _rows(file: TextFile, tokenizer: PieceTokenizer, longest: int) -> Iterator[NDArray[np.int32]]:
    lines = [line for line in file.lines() if line.strip()]
    for start in range(0, len(lines), LINES_AT_ONCE):
        for tokens in tokenizer.encode_ids(lines[start : start + LINES_AT_ONCE]):
            for row in rows_of(tokens, longest):
                yield np.array(row, np.int32)


_NO_CRITERION = BertMLMCriterion(BertMLMConfig())


def measure_masked(
    model: MaskedModel, text: MaskedText, teacher: MaskedLMTeacher | None = None, *, bfloat16: bool = False
) -> MaskedResult:
    """Let a model guess what is masked.

    Args:
        model: on the device where it is to run.
        text: the same for all models that are compared.
        teacher: on the same device; how often both have the same best guess is measured.
        bfloat16: whether matrix products run in bfloat16.
    """
    device = next(model.model.parameters()).device
    sums: dict[str, float] = {}
    for batch in text.batches:
        ids, mask, index, target = (batch[name].to(device) for name in BATCH)
        with torch.no_grad(), bfloat16_autocast(bfloat16, device):
            student = model.model.model.observe(ids, mask, index, NOTHING_ELSE)
            asked = TeacherBatch(
                torch.arange(len(ids)), {"input_ids": ids, "attention_mask": mask, "masked_index": index}
            )
            signal = None if teacher is None else teacher.signal(asked)
            output = text_validation(_NO_CRITERION, Needs(), student, target, signal)
        for name, term in output.terms.items():
            sums[name] = sums.get(name, 0.0) + float(term.total)
    bits = sums["mlm_loss"] / text.masked / math.log(2)
    metrics = {"accuracy": sums["accuracy"] / text.masked, "loss": bits}
    if teacher is not None:
        metrics["agreement"] = sums["agreement"] / text.masked
    numbers = sum(parameter.numel() for parameter in model.model.parameters())
    return MaskedResult(model.name, metrics, numbers, model.signature)


def masked_table(results: Sequence[MaskedResult]) -> str:
    """Return one line a model, and the signatures of those that were distilled."""
    rows = [["model", *results[0].metrics, "parameters"]]
    for result in results:
        values = [f"{value:.2f}" for value in result.metrics.values()]
        rows.append([result.name, *values, f"{result.parameters:,}"])
    signatures = [f"{result.name}: {result.signature}" for result in results if result.signature is not None]
    return "\n".join([table(rows), *signatures]) + "\n"
