"""The kind ``fairseq`` of ``cmlm-kd translate``: checkpoints of fairseq, one or an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from fairseq import search
from fairseq.data.data_utils import collate_tokens
from fairseq.sequence_generator import SequenceGenerator

from cmlm_kd.api.translator import (
    Decoding,
    Hypothesis,
    ModelChoice,
    Source,
    TokenText,
    Translator,
    translators,
)
from cmlm_kd.errors import UserError
from cmlm_kd.models.translators.spelled_tokens import PieceText
from cmlm_kd.tokenization.pieces import PieceTokenizer
from fairseq_plugins.translators.conversion import convert_checkpoint
from fairseq_plugins.translators.loading import Ensemble, load_ensemble


@translators.register("fairseq")
class CheckpointTranslator(Translator):
    """fairseq's own search over its own models; what ``fairseq-generate`` does, from text to text."""

    settings: ClassVar[frozenset[str]] = frozenset(
        {"data", "source_language", "target_language", "bpe", "tokenizer"}
    )

    def __init__(self, ensemble: Ensemble, text: TokenText, device: str, paths: tuple[str, ...]) -> None:
        self.paths = paths
        self.ensemble = ensemble
        self.text = text
        self.device = torch.device(device)
        self._generators: dict[Decoding, SequenceGenerator] = {}

    @classmethod
    def load(cls, choice: ModelChoice) -> CheckpointTranslator:
        """Load checkpoints, and the tokenizer of their data-bin."""
        ensemble = load_ensemble(choice.paths, choice.data, choice.device)
        _check_languages(choice, ensemble)
        text = _text(choice, ensemble)
        text.most_source_tokens = min(int(model.max_positions()[0]) for model in ensemble.models)
        text.most_target_tokens = min(int(model.max_decoder_positions()) for model in ensemble.models) - 1
        return cls(ensemble, text, choice.device, choice.paths)

    @property
    def description(self) -> str:
        """Its architecture, and how many there are."""
        count = len(self.ensemble.models)
        return f"fairseq {self.ensemble.architecture}" + (f", ensemble of {count}" if count > 1 else "")

    @property
    def hash(self) -> str:
        """Of weights, dictionaries and what makes tokens of text."""
        return f"{self.ensemble.hash[:32]}{self.text.hash[:32]}"

    @property
    def languages(self) -> tuple[str | None, str | None]:
        """Those of the data-bin."""
        return self.ensemble.languages

    @property
    def most_source_tokens(self) -> int | None:
        """The positions of the ensemble's shortest encoder."""
        return self.text.most_source_tokens

    def to_ctranslate2(self, directory: Path, quantization: str) -> TokenText:
        """Convert the only checkpoint."""
        convert_checkpoint(self.paths, self.ensemble, directory, quantization)
        return self.text

    def encode(self, texts: Sequence[str]) -> list[Source]:
        """Return the dictionary's entries of each text, end of sentence included."""
        dictionary = self.ensemble.task.source_dictionary
        return [
            Source(found.text, [*map(dictionary.index, found.tokens), dictionary.eos()])
            for found in self.text.encode(texts)
        ]

    @torch.inference_mode()
    def translate(self, sources: Sequence[Source], decoding: Decoding) -> list[list[Hypothesis]]:
        """Search, or draw, as fairseq does."""
        torch.manual_seed(decoding.seed)
        dictionary = self.ensemble.task.source_dictionary
        # LSTMs want the longest first.
        order = sorted(range(len(sources)), key=lambda row: -len(sources[row].tokens))
        rows = [torch.tensor(sources[row].tokens) for row in order]
        lengths = torch.tensor([len(row) for row in rows], device=self.device)  # (B,)
        tokens = collate_tokens(rows, dictionary.pad(), left_pad=self.ensemble.task.cfg.left_pad_source)
        sample = {"net_input": {"src_tokens": tokens.to(self.device), "src_lengths": lengths}}
        most = decoding.most_tokens(tokens.size(1))
        if self.text.most_target_tokens is not None:
            most = min(most, self.text.most_target_tokens)
        found = dict(zip(order, self._generate(sample, decoding), strict=True))
        return [
            [self._hypothesis(entry, most) for entry in found[row][: decoding.n_best]]
            for row in range(len(sources))
        ]

    def _generate(self, sample: dict[str, Any], decoding: Decoding) -> Any:
        try:
            return self._generator(decoding).generate(self.ensemble.models, sample)
        except (AssertionError, IndexError, RuntimeError) as error:
            # Where a model gives NaN, no hypothesis ever ends, or nothing can be drawn.
            if self._gives_numbers(sample["net_input"]):
                raise
            raise UserError(
                "the model gives no finite numbers: its training has diverged; take an earlier checkpoint"
            ) from error

    def _gives_numbers(self, inputs: dict[str, Any]) -> bool:
        """Return whether what the models say first is finite."""
        end = self.ensemble.task.target_dictionary.eos()  # which stands for the beginning, too
        begin = inputs["src_tokens"].new_full((len(inputs["src_tokens"]), 1), end)  # (B, 1)
        said = (model(**inputs, prev_output_tokens=begin)[0] for model in self.ensemble.models)
        return all(bool(logits.isfinite().all()) for logits in said)

    def _hypothesis(self, found: dict[str, Any], most_tokens: int) -> Hypothesis:
        dictionary = self.ensemble.task.target_dictionary
        entries = found["tokens"].tolist()[:-1]  # without the end of sentence
        score = float(found["score"])
        text = self.text.decode([dictionary[entry] for entry in entries])
        return Hypothesis(text, score, finished=len(entries) < most_tokens)

    def _generator(self, decoding: Decoding) -> SequenceGenerator:
        if decoding not in self._generators:
            dictionary = self.ensemble.task.target_dictionary
            strategy = None
            if decoding.sampling:
                among = min(decoding.top_k or -1, len(dictionary))
                strategy = search.Sampling(dictionary, among, decoding.top_p or -1.0)
            self._generators = {
                decoding: SequenceGenerator(
                    self.ensemble.models,
                    dictionary,
                    beam_size=decoding.width,
                    max_len_a=decoding.max_length_ratio,
                    max_len_b=decoding.max_length,
                    len_penalty=decoding.length_penalty,
                    temperature=decoding.temperature,
                    search_strategy=strategy,
                    symbols_to_strip_from_output=None,
                )
            }
        return self._generators[decoding]


def _text(choice: ModelChoice, ensemble: Ensemble) -> TokenText:
    """Return what makes tokens of text: the tokenizer of the data-bin, or what the user says.

    Raises:
        UserError: neither is there, or both are.
    """
    teacher = ensemble.data / "teacher"
    if choice.bpe is None and choice.tokenizer is not None:
        raise UserError("--tokenizer goes with --bpe, which says what the text was cut with after it")
    if teacher.is_dir() and choice.bpe is None:
        return PieceText(PieceTokenizer.from_pretrained(str(teacher)))
    if teacher.is_dir():
        raise UserError(f"{ensemble.data} has a tokenizer of its own ({teacher}); leave out --bpe")
    if choice.bpe is None:
        raise UserError(
            f"{ensemble.data} has no tokenizer (the folder 'teacher', which 'cmlm-kd prepare' writes), "
            "and nothing else tells how text becomes tokens; name a data-bin with --data that has one, or "
            "say with --bpe what the text was cut with"
        )
    from fairseq_plugins.translators.stock_text import StockText

    return StockText(choice.bpe, moses=choice.tokenizer == "moses", languages=ensemble.languages)


def _check_languages(choice: ModelChoice, ensemble: Ensemble) -> None:
    """Refuse a model of another pair than the user says.

    Raises:
        UserError: naming both.
    """
    own = ensemble.languages
    asked = (choice.source_language or own[0], choice.target_language or own[1])
    if asked != own:
        raise UserError(
            f"{choice.paths[0]} translates {' to '.join(own)}, {' to '.join(asked)} is asked for; give a "
            "model of that pair"
        )
