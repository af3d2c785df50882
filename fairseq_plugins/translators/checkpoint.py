"""The kind ``fairseq`` of ``cmlm-kd translate``: checkpoints of fairseq, one or an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from fairseq import search
from fairseq.data.data_utils import collate_tokens
from fairseq.sequence_generator import SequenceGenerator

from cmlm_kd.api.translator import Decoding, Hypothesis, ModelChoice, Source, Translator, translators
from cmlm_kd.errors import UserError
from cmlm_kd.models.translators.spelled_tokens import PieceText
from cmlm_kd.tokenization.loading import serialized_hash
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.spelling import pieces_to_text
from fairseq_plugins.translators.conversion import convert_checkpoint
from fairseq_plugins.translators.loading import Ensemble, load_ensemble


@translators.register("fairseq")
class CheckpointTranslator(Translator):
    """fairseq's own search over its own models; what ``fairseq-generate`` does, from text to text."""

    settings: ClassVar[frozenset[str]] = frozenset({"data", "source_language", "target_language"})

    def __init__(
        self, ensemble: Ensemble, tokenizer: PieceTokenizer, device: str, paths: tuple[str, ...]
    ) -> None:
        self.paths = paths
        self.ensemble = ensemble
        self.tokenizer = tokenizer
        self.device = torch.device(device)
        self._generators: dict[Decoding, SequenceGenerator] = {}

    @classmethod
    def load(cls, choice: ModelChoice) -> CheckpointTranslator:
        """Load checkpoints, and the tokenizer of their data-bin."""
        ensemble = load_ensemble(choice.paths, choice.data, choice.device)
        _check_languages(choice, ensemble)
        teacher = ensemble.data / "teacher"
        if not teacher.is_dir():
            raise UserError(
                f"{ensemble.data} has no tokenizer (the folder 'teacher', which 'cmlm-kd prepare' writes), "
                "and nothing else tells how text becomes tokens; name a data-bin with --data that has one"
            )
        return cls(ensemble, PieceTokenizer.from_pretrained(str(teacher)), choice.device, choice.paths)

    @property
    def description(self) -> str:
        """Its architecture, and how many there are."""
        count = len(self.ensemble.models)
        return f"fairseq {self.ensemble.architecture}" + (f", ensemble of {count}" if count > 1 else "")

    @property
    def hash(self) -> str:
        """Of weights, dictionaries and tokenizer."""
        return f"{self.ensemble.hash[:32]}{serialized_hash(self.tokenizer.tokenizer)[:32]}"

    @property
    def languages(self) -> tuple[str | None, str | None]:
        """Those of the data-bin."""
        return self.ensemble.languages

    @property
    def most_source_tokens(self) -> int | None:
        """The positions of the ensemble's shortest encoder."""
        return min(int(model.max_positions()[0]) for model in self.ensemble.models)

    def to_ctranslate2(self, directory: Path, quantization: str) -> PieceText:
        """Convert the only checkpoint."""
        convert_checkpoint(self.paths, self.ensemble, directory, quantization)
        words = PieceText(self.tokenizer)
        words.most_source_tokens = self.most_source_tokens
        words.most_target_tokens = self._most_target_tokens
        return words

    def encode(self, texts: Sequence[str]) -> list[Source]:
        """Return the dictionary's entries of each text, end of sentence included."""
        dictionary = self.ensemble.task.source_dictionary
        return [
            Source(text, [*map(dictionary.index, pieces.symbols), dictionary.eos()])
            for text, pieces in zip(texts, self.tokenizer.encode_batch(texts), strict=True)
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
        most = min(decoding.most_tokens(tokens.size(1)), self._most_target_tokens)
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
        text = pieces_to_text(dictionary[entry] for entry in entries)
        return Hypothesis(text, score, finished=len(entries) < most_tokens)

    @property
    def _most_target_tokens(self) -> int:
        return min(int(model.max_decoder_positions()) for model in self.ensemble.models) - 1

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
