"""The kind ``encoder_decoder`` of ``cmlm-kd translate``: Marian, NLLB, mBART, T5 and their like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from cmlm_kd.api.translator import Decoding, Hypothesis, ModelChoice, Source, Translator, translators
from cmlm_kd.models.exported import export_record
from cmlm_kd.models.translators.ctranslate2 import explained_conversion, import_ctranslate2
from cmlm_kd.models.translators.generation import generate, sequence_scores
from cmlm_kd.models.translators.loading import UNLIMITED, Seq2Seq, end_tokens, load_seq2seq, source_ids
from cmlm_kd.models.translators.spelled_tokens import TransformersText


@translators.register("encoder_decoder")
class EncoderDecoderTranslator(Translator):
    """An encoder-decoder of transformers.

    Args:
        loaded: the model with its tokenizer.
        device: where it runs.
    """

    settings: ClassVar[frozenset[str]] = frozenset({"source_language", "target_language"})

    def __init__(self, loaded: Seq2Seq, device: str = "cpu") -> None:
        self.loaded = loaded
        self.model = loaded.model.to(device)
        self.tokenizer = loaded.tokenizer
        self.device = torch.device(device)

    @classmethod
    def load(cls, choice: ModelChoice) -> EncoderDecoderTranslator:
        """Load a directory or a model of the hub."""
        record = export_record(Path(choice.path).expanduser())
        if record is None:
            loaded = load_seq2seq(choice.path, choice.source_language, choice.target_language)
        else:
            source, target = _pair(record.with_languages(choice))
            loaded = replace(load_seq2seq(choice.path), source_language=source, target_language=target)
        return cls(loaded, choice.device)

    @property
    def description(self) -> str:
        """Its family."""
        return f"Hugging Face {self.model.config.model_type}"

    @property
    def hash(self) -> str:
        """Of configuration, weights, tokenizer and languages."""
        return self.loaded.hash

    @property
    def languages(self) -> tuple[str | None, str | None]:
        """As the model knows them."""
        return self.loaded.source_language, self.loaded.target_language

    @property
    def most_source_tokens(self) -> int | None:
        """Its positions, where it has a number of them."""
        config = self.model.config
        learnt = getattr(config, "max_position_embeddings", None)  # T5's are relative
        most = min(learnt or UNLIMITED, int(self.tokenizer.model_max_length))
        return most if most < UNLIMITED else None

    def to_ctranslate2(self, directory: Path, quantization: str) -> TransformersText:
        """Convert the model that was loaded, by its name."""
        converters = import_ctranslate2().converters
        words = TransformersText(self.tokenizer, self.loaded.source_prefix, self.loaded.forced_first)
        converter = converters.TransformersConverter(self.loaded.name)
        explained_conversion(
            lambda: converter.convert(str(directory), quantization=quantization), self.loaded.name
        )
        words.most_source_tokens = self.most_source_tokens
        words.most_target_tokens = self._most_target_tokens
        return words

    def encode(self, texts: Sequence[str]) -> list[Source]:
        """Return the tokenizer's ids, with what stands before a sentence and what ends it."""
        found = source_ids(self.tokenizer, self.loaded.source_prefix, texts)
        return [Source(text, ids) for text, ids in zip(texts, found, strict=True)]

    @torch.inference_mode()
    def translate(self, sources: Sequence[Source], decoding: Decoding) -> list[list[Hypothesis]]:
        """Search, or draw, with transformers."""
        longest = max(len(source.tokens) for source in sources)
        pad = int(self.tokenizer.pad_token_id)
        ids = torch.full((len(sources), longest), pad)
        mask = torch.zeros(len(sources), longest, dtype=torch.long)
        for row, source in enumerate(sources):
            ids[row, : len(source.tokens)] = torch.tensor(source.tokens)
            mask[row, : len(source.tokens)] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        encoded = self.model.get_encoder()(input_ids=ids, attention_mask=mask)
        hidden = encoded[0]  # (B, S, d), kept apart, because generate repeats what it is given in place
        found = generate(
            self.model,
            {"encoder_outputs": encoded, "attention_mask": mask},
            decoding,
            begin=1,
            prefix=len(self._forced),
            most_tokens=min(decoding.most_tokens(longest), self._most_target_tokens),
            ends=end_tokens(self.model, self.tokenizer),
            pad=pad,
            decoder_start_token_id=self.loaded.decoder_start,
            forced_bos_token_id=self.loaded.forced_first,
        )

        def logits(rows: range, entries: Tensor) -> Tensor:
            of = torch.tensor([row // decoding.n_best for row in rows], device=self.device)
            start = entries.new_full((len(rows), 1), self.loaded.decoder_start)
            output = self.model(
                encoder_outputs=(hidden[of],),
                attention_mask=mask[of],
                decoder_input_ids=torch.cat([start, entries[:, :-1]], 1),
                use_cache=False,
            )
            return output.logits  # type: ignore[no-any-return]  # (N, T, V)

        scores = sequence_scores(
            found,
            logits,
            decoding,
            pad=pad,
            vocabulary=int(self.model.config.vocab_size),
            prefix=self._forced,
            device=self.device,
        )
        texts = self.tokenizer.batch_decode([entry.entries for entry in found], skip_special_tokens=True)
        hypotheses = [
            Hypothesis(text, score, entry.finished)
            for text, score, entry in zip(texts, scores, found, strict=True)
        ]
        n = decoding.n_best
        rows = [hypotheses[start : start + n] for start in range(0, len(hypotheses), n)]
        return [sorted(row, key=lambda entry: -entry.score) for row in rows]

    @property
    def _forced(self) -> list[int]:
        return [] if self.loaded.forced_first is None else [self.loaded.forced_first]

    @property
    def _most_target_tokens(self) -> int:
        """What the decoder's positions leave for a hypothesis."""
        learnt = getattr(self.model.config, "max_position_embeddings", None) or UNLIMITED
        return max(1, int(learnt) - 2 - len(self._forced))


def _pair(choice: ModelChoice) -> tuple[str | None, str | None]:
    return choice.source_language, choice.target_language
