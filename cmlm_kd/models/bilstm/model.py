"""A single-layer BiLSTM that classifies sentences, and its siamese form for pairs (Tang et al., 2019).

A plain ``nn.Module``. The released code (``dbert/distill/model``) has the same layers, with two differences:
dropout also acts in the siamese form, and sentences need not be sorted by length.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import NOTHING_ELSE, ModelDescription, Request
from cmlm_kd.data.classification.inputs import Encoded
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import BILSTM
from cmlm_kd.system.ranges import MODEL_SIZE, SHARE_BELOW_ONE, check_range
from cmlm_kd.tokenization.words import WordVocabulary


class WordInputs:
    """Words of one sentence, or of two after each other, with nothing between or around them.

    A :class:`cmlm_kd.data.classification.inputs.SentenceInputs`.

    Args:
        vocabulary: the words that are known.
        max_length: longest input in words, or 0 for no limit; of a pair the longer sentence is cut first.

    Raises:
        UserError: if an input could not even be one word of each sentence.
    """

    def __init__(self, vocabulary: WordVocabulary, max_length: int = 0) -> None:
        if max_length < 0 or max_length == 1:
            raise UserError(f"--max-length is {max_length}, it must be at least 2 words, or 0 for no limit")
        self.vocabulary = vocabulary
        self.max_length = max_length
        self.pad = vocabulary.padding_idx
        content = json.dumps([vocabulary.words, vocabulary.lowercase])
        self.hash = hashlib.sha256(content.encode()).hexdigest()

    def encode(self, first: Sequence[str], second: Sequence[str] | None = None) -> list[Encoded]:
        """Return the word ids of every example; token types are 0 on the first sentence, 1 on the second."""
        firsts = [self.vocabulary.encode(text) for text in first]
        seconds = [[]] * len(firsts) if second is None else [self.vocabulary.encode(text) for text in second]
        return [self._encoded(*self._cut(*pair)) for pair in zip(firsts, seconds, strict=True)]

    @staticmethod
    def _encoded(first: list[int], second: list[int]) -> Encoded:
        types = np.repeat(np.array([0, 1], np.int8), (len(first), len(second)))  # (S,)
        return Encoded(np.array(first + second, np.int32), types)

    def _cut(self, first: list[int], second: list[int]) -> tuple[list[int], list[int]]:
        if not self.max_length or len(first) + len(second) <= self.max_length:
            return first, second
        half = self.max_length // 2
        # The shorter sentence stays whole as long as it takes no more than its half.
        room_for_second = max(half, self.max_length - len(first)) if second else 0
        second = second[:room_for_second]
        return first[: self.max_length - len(second)], second

    def to_dict(self) -> dict[str, Any]:
        """Return the inputs as plain values."""
        return {
            "words": self.vocabulary.words,
            "lowercase": self.vocabulary.lowercase,
            "max_length": self.max_length,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> WordInputs:
        """Rebuild the inputs from :meth:`to_dict`."""
        return cls(WordVocabulary(fields["words"], lowercase=fields["lowercase"]), fields["max_length"])


ARCHITECTURE = BILSTM
EmbeddingMode = Literal["static", "non-static", "multichannel"]


@dataclass(frozen=True)
class BiLSTMConfig:
    """The shape of a :class:`BiLSTMClassifier`; defaults are those of the released ``birnn_sst2_150``.

    Attributes:
        labels: names of the classes in the order of the logits; none for a score.
        pair: whether an example is two sentences.
        embedding_dim: width of a word vector; a multichannel model has two of them a word.
        embeddings: ``static`` vectors stay as they are, ``non-static`` ones are trained, ``multichannel`` is
            one of each side by side.
        hidden_size: of each direction of the LSTM.
        fc_size: width between the LSTM and the outputs.
        dropout: before the outputs, in [0, 1).

    Raises:
        UserError: for a value outside its range.
    """

    labels: tuple[str, ...] = ()
    pair: bool = False
    embedding_dim: int = 300
    embeddings: EmbeddingMode = "multichannel"
    hidden_size: int = 150
    fc_size: int = 200
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("embedding_dim", "hidden_size", "fc_size"):
            check_range(name, getattr(self, name), MODEL_SIZE, owner="bilstm_classifier")
        check_range("dropout", self.dropout, SHARE_BELOW_ONE, owner="bilstm_classifier", joint=", ")
        if self.embeddings not in get_args(EmbeddingMode):
            allowed = ", ".join(get_args(EmbeddingMode))
            raise UserError(f"bilstm_classifier: embeddings is {self.embeddings!r}; allowed are {allowed}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {**asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> BiLSTMConfig:
        """Rebuild the config from :meth:`to_dict`."""
        return cls(**{**fields, "labels": tuple(fields["labels"])})


class BiLSTMClassifier(nn.Module):
    """Word ids to logits.

    Args:
        config: the shape.
        inputs: turns text into word ids.
        vectors: ``(words, embedding_dim)`` word vectors that every channel starts from, padding (row 0)
            included; None draws them from U(-0.25, 0.25), the released code's range for unknown words.

    Raises:
        UserError: if the vectors have another shape.
    """

    def __init__(self, config: BiLSTMConfig, inputs: WordInputs, vectors: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        self.inputs = inputs
        shape = (len(inputs.vocabulary), config.embedding_dim)
        self.embeddings = nn.ModuleDict(
            {name.replace("-", "_"): _channel(shape, vectors, name) for name in _channels(config.embeddings)}
        )
        self.lstm = nn.LSTM(
            len(self.embeddings) * config.embedding_dim,
            config.hidden_size,
            batch_first=True,
            bidirectional=True,
        )
        sentence = 2 * config.hidden_size
        self.fc = nn.Linear(4 * sentence if config.pair else sentence, config.fc_size)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.fc_size, len(config.labels) or 1)

    @property
    def reads_pairs(self) -> bool:
        """Whether it reads pairs of sentences."""
        return self.config.pair

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes in the order of the logits; none for a score."""
        return self.config.labels

    @property
    def description(self) -> ModelDescription:
        """What is known of the model before it runs."""
        return ModelDescription(
            name=f"student {ARCHITECTURE}", labels=self.labels, tokenizer=self.inputs.hash
        )

    def sentence_vectors(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Return the last state of both directions, ``(B, 2h)``.

        Args:
            words: ``(B, L)`` ids, padded on the right.
            lengths: ``(B,)``, each from 1 to L.
        """
        embedded = torch.cat([channel(words) for channel in self.embeddings.values()], -1)  # (B, L, e)
        # Packed, so that the backward direction begins at each sentence's own end.
        packed = nn.utils.rnn.pack_padded_sequence(
            embedded, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        _, (state, _) = self.lstm(packed)  # (2, B, h)
        return torch.cat((state[0], state[1]), -1)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        request: Request = NOTHING_ELSE,
    ) -> ModelOutput:
        """Return logits ``(B, C)``, or ``(B, 1)`` for scores.

        Args:
            input_ids: ``(B, S)`` word ids, the second sentence of a pair after the first.
            attention_mask: ``(B, S)``, 1 on words, 0 on padding, which stands on the right.
            token_type_ids: ``(B, S)``, 0 on the first sentence, 1 on the second.
            request: nothing else can be asked for.
        """
        if self.config.pair:
            first, second = split_pair(input_ids, attention_mask, token_type_ids)
            sentence = compared_states(
                self.sentence_vectors(*first), self.sentence_vectors(*second)
            )  # (B, 8h)
        else:
            sentence = self.sentence_vectors(input_ids, attention_mask.sum(1))  # (B, 2h)
        return ModelOutput(logits=self.output(self.dropout(torch.relu(self.fc(sentence)))))

    def state_of_architecture(self) -> dict[str, Any]:
        """Return what rebuilds the model besides its weights, as plain values."""
        return {"config": self.config.to_dict(), "inputs": self.inputs.to_dict()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> BiLSTMClassifier:
        """Rebuild the architecture from :meth:`state_of_architecture`, with random weights."""
        return cls(BiLSTMConfig.from_dict(state["config"]), WordInputs.from_dict(state["inputs"]))


def split_pair(
    input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Take pairs apart: of each side ids ``(B, L)``, padded on the right with anything, and lengths.

    Args:
        input_ids: ``(B, S)``, the second sentence right after the first.
        attention_mask: ``(B, S)``.
        token_type_ids: ``(B, S)``.
    """
    real = attention_mask.bool()
    ends = (real & token_type_ids.eq(0)).sum(1)  # (B,)
    lengths = real.sum(1) - ends  # (B,)
    columns = torch.arange(int(lengths.max()), device=input_ids.device)  # (L2,)
    index = (ends.unsqueeze(1) + columns).clamp(max=input_ids.size(1) - 1)  # (B, L2)
    return (input_ids[:, : int(ends.max())], ends), (input_ids.gather(1, index), lengths)


def compared_states(first: Tensor, second: Tensor) -> Tensor:
    """Return ``[s1, s2, |s1 - s2|, s1 * s2]``: two ``(B, d)`` -> ``(B, 4d)``."""
    return torch.cat((first, second, (first - second).abs(), first * second), -1)


def _channels(mode: EmbeddingMode) -> tuple[str, ...]:
    return ("static", "non-static") if mode == "multichannel" else (mode,)


def _channel(shape: tuple[int, int], vectors: Tensor | None, name: str) -> nn.Embedding:
    if vectors is None:
        vectors = torch.empty(shape).uniform_(-0.25, 0.25)  # (V, e)
        vectors[0] = 0.0
    if tuple(vectors.shape) != shape:
        raise UserError(
            f"{ARCHITECTURE}: word vectors of shape {tuple(vectors.shape)} for {shape[0]} words of width "
            f"{shape[1]}; give one vector per word of the vocabulary"
        )
    table = nn.Embedding(*shape, padding_idx=0, _weight=vectors.clone().float())
    table.weight.requires_grad_(name != "static")
    return table
