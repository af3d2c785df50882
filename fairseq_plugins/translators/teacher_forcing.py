"""fairseq's translators as teachers: what they say of every token of the gold target, its history given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.data.data_utils import collate_tokens, infer_language_pair
from numpy.typing import NDArray
from torch import Tensor, nn

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription, Request
from cmlm_kd.api.next_tokens import (
    NamedTeacher,
    NextTokens,
    Pairs,
    TeacherOptions,
    TranslationData,
    next_token_teachers,
)
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import DICTIONARY_HASH, SOURCE_DICTIONARY_HASH
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
from cmlm_kd.fairseq_files.databin import dictionary_hash
from cmlm_kd.system.devices import bfloat16_autocast
from fairseq_plugins.models.inner_states import describe_translator, inner_states
from fairseq_plugins.models.output_layer import Projection, find_projection, without_output_layer
from fairseq_plugins.translators.loading import known_dictionary, load_ensemble, task_settings, trained_on

DECODER_PREFIX = "decoder."
"""Of the weights' names, of every encoder-decoder of fairseq."""


@next_token_teachers.register("fairseq")
class FairseqTeacher(NamedTeacher):
    """An encoder-decoder of fairseq, such as a Transformer or an LSTM.

    Args:
        path: of its checkpoint.
        model: in evaluation mode.
        task: the model's, with both dictionaries.
        digest: of weights and dictionaries.
        options: where and how it runs; it is moved there.
    """

    kind = "fairseq translator"

    def __init__(
        self,
        path: Path,
        model: nn.Module,
        task: Any,
        digest: str,
        options: TeacherOptions,
    ) -> None:
        self.path, self.task, self.digest = path, task, digest
        self.device, self.bf16_autocast = torch.device(options.device), options.bf16_autocast
        self.model: Any = model.eval().to(self.device)
        self.projects_apart = isinstance(find_projection(model), Projection)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether it is the checkpoint of a model with a decoder."""
        return path.suffix == ".pt" and any(
            name.startswith(DECODER_PREFIX) for name in read_checkpoint(path)["model"]
        )

    @classmethod
    def load(cls, path: Path, data: TranslationData, options: TeacherOptions) -> FairseqTeacher:
        """Load a checkpoint whose dictionaries are those of the data; see :meth:`NamedTeacher.load`."""
        state = read_checkpoint(path)
        check_same_data(path, state, data)
        ensemble = load_ensemble([str(path)], data.directory)
        return cls(path, ensemble.models[0], ensemble.task, ensemble.hash, options)

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    @property
    def hash(self) -> str:
        """Hash of its weights and dictionaries."""
        return self.digest

    def readable(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return which pairs have no side longer than the model's positions."""
        longest = self.model.max_positions()  # source and target
        sources, targets = pairs.lengths
        return (sources <= longest[0]) & (targets <= longest[1])

    @torch.inference_mode()
    def next_tokens(self, pairs: Pairs) -> NextTokens:
        """Return the logits of every target token; see :meth:`NextTokenTeacher.next_tokens`."""
        inputs, places = self._batch(pairs)
        with bfloat16_autocast(self.bf16_autocast, self.device):
            logits = self._logits(inputs, places)
        return NextTokens(logits.float())

    @torch.inference_mode()
    def states(self, pairs: Pairs) -> Tensor:
        """Return what the output layer projects for every target token, pair after pair: ``(N, d)``
        float32."""
        inputs, places = self._batch(pairs)
        with (
            bfloat16_autocast(self.bf16_autocast, self.device),
            without_output_layer(self.model.decoder),
        ):
            features = self.model(**inputs)[0]  # (B, T, d)
        return features.flatten(0, 1)[places].float()

    def predictions(self, pairs: Pairs) -> ModelOutput:
        """Return what its output layer would project; see :meth:`NextTokenTeacher.predictions`."""
        projection = find_projection(self.model)
        if isinstance(projection, str):
            return super().predictions(pairs)
        bias = None if projection.bias is None else projection.bias.detach()
        return ModelOutput(features=self.states(pairs), weight=projection.weight.detach(), bias=bias)

    def _batch(self, pairs: Pairs) -> tuple[dict[str, Tensor], Tensor]:
        """Return what the model reads, and where in ``(B * T)`` the target tokens are, pair after pair:
        ``(N,)``."""
        lengths = torch.tensor([len(source) for source in pairs.sources])  # (B,)
        order = torch.argsort(lengths, descending=True, stable=True)  # an LSTM wants the longest source first
        back = torch.argsort(order)  # (B,)
        rows = order.tolist()
        pad, eos = self.task.target_dictionary.pad(), self.task.target_dictionary.eos()
        sources = [torch.from_numpy(pairs.sources[row].astype(np.int64)) for row in rows]
        targets = [torch.from_numpy(pairs.targets[row].astype(np.int64)) for row in rows]
        inputs = {
            "src_tokens": collate_tokens(sources, pad, left_pad=self.task.cfg.left_pad_source),
            "src_lengths": lengths[order],
            # The history of each token; end of sentence stands for the beginning.
            "prev_output_tokens": collate_tokens(targets, pad, eos, move_eos_to_beginning=True),
        }
        real = collate_tokens(targets, pad).ne(pad)[back]  # (B, T)
        places = (back[:, None] * real.size(1) + torch.arange(real.size(1)))[real]  # (N,)
        on_device = {name: tensor.to(self.device) for name, tensor in inputs.items()}
        return on_device, places.to(self.device)

    @property
    def inside(self) -> ModelDescription:
        """What can be read of it; of an LSTM its predictions alone."""
        dictionaries = (self.task.source_dictionary, self.task.target_dictionary)
        return describe_translator(self.model, f"teacher {self.path}", *dictionaries, learns=False)

    def check_lengths(self, most: tuple[int, int]) -> None:
        """Refuse pairs longer than its positions, in a training that reads the inside of all of them.

        Args:
            most: tokens of the longest source and target that there may be.

        Raises:
            UserError: naming both.
        """
        for side, longest, own in zip(("source", "target"), most, self.model.max_positions(), strict=True):
            if longest > own:
                raise UserError(
                    f"teacher {self.path} reads {side}s of up to {own} tokens, the training has some of up "
                    f"to {longest}; pass --max-{side}-positions {own}"
                )

    @torch.no_grad()
    def look_inside(
        self, inputs: Mapping[str, Tensor], real: Tensor, request: Request
    ) -> tuple[ModelOutput, NextTokens | None]:
        """Return what is read of a batch; see :meth:`NextTokenTeacher.look_inside`."""
        on_device = {name: tensor.to(self.device) for name, tensor in inputs.items()}
        places = real.flatten().nonzero().squeeze(1).to(self.device)  # (N,)
        with bfloat16_autocast(self.bf16_autocast, self.device), inner_states(self.model, request) as kept:
            if request.predictions == "none":
                places = places[:0]
            logits = self._logits(on_device, places)  # (N, V)
        padding = self.task.source_dictionary.pad()
        output = kept.put_into(ModelOutput(), on_device["src_tokens"].ne(padding))
        return output, None if request.predictions == "none" else NextTokens(logits.float())

    def _logits(self, inputs: Mapping[str, Tensor], places: Tensor) -> Tensor:
        """Return the logits ``(N, V)`` of the ``places`` of ``(B * T)``; padding is not projected if it can
        be helped."""
        decoder = self.model.decoder
        if self.projects_apart:
            with without_output_layer(decoder):
                features = self.model(**inputs)[0]  # (B, T, d)
            return decoder.output_layer(features.flatten(0, 1)[places])  # (N, V)
        output = self.model(**inputs)
        if getattr(decoder, "adaptive_softmax", None) is not None:
            output = (self.model.get_normalized_probs(output, log_probs=True, sample=None), None)
        return output[0].flatten(0, 1)[places]  # (N, V)


def check_same_data(path: Path, state: Mapping[str, Any], data: TranslationData) -> None:
    """Refuse the checkpoint of a translator that is not of the languages and dictionaries of some data.

    Raises:
        UserError: naming the checkpoint and what differs.
    """
    _check_languages(path, state, data)
    _check_dictionaries(path, state, data)


def _check_languages(path: Path, state: Mapping[str, Any], data: TranslationData) -> None:
    """Refuse a translator of another pair of languages."""
    settings = task_settings(state)
    found = (settings.get("source_lang"), settings.get("target_lang"))
    if None in found and trained_on(state).is_dir():
        found = tuple(infer_language_pair(str(trained_on(state))))
    if None not in found and found != data.languages:
        raise UserError(
            f"teacher {path} translates {found[0]} to {found[1]}, {data.directory} has "
            f"{data.source_language} to {data.target_language}; give a teacher of these languages"
        )


def _check_dictionaries(path: Path, state: Mapping[str, Any], data: TranslationData) -> None:
    """Refuse a translator whose entries are not, or are not known to be, those of the data."""
    keys = {data.source_language: SOURCE_DICTIONARY_HASH, data.target_language: DICTIONARY_HASH}
    for language, key in keys.items():
        wanted = dictionary_hash(data.dictionary(language))
        found = known_dictionary(path, state, language, key)
        if found is None:
            raise UserError(
                f"teacher {path} does not say which dictionary its entries are of, and dict.{language}.txt "
                f"is neither beside it nor in {trained_on(state)}, which it was trained on; put the "
                "teacher's dictionaries beside the checkpoint"
            )
        if found != wanted:
            raise UserError(
                f"teacher {path} has dictionary {found[:8]} for {language}, that of {data.directory} is "
                f"{wanted[:8]}; train the teacher on these data, or give a data-bin with its dictionaries"
            )
