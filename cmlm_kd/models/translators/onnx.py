"""The kind ``onnx`` of ``cmlm-kd translate``: translation students as ONNX graphs, run by ONNX Runtime.

The directory has two graphs, ``encoder.onnx`` and ``decoder.onnx``, and ``entries.json``, the dictionaries
of both sides. What the encoder returns goes into the decoder as it is; what the decoder returns beside
log-probabilities are its states, which go into its next step. So Transformers and LSTMs are searched alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.api.translator import Decoding, Hypothesis, ModelChoice, Source, Translator, translators
from cmlm_kd.errors import UserError, first_line
from cmlm_kd.models.exported import EXPORT_AGAIN, PIECES, ExportRecord, read_export
from cmlm_kd.models.translators.beam_search import search
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.spelling import pieces_to_text

ENCODER, DECODER, ENTRIES = "encoder.onnx", "decoder.onnx", "entries.json"
PAD, EOS, UNK = 1, 2, 3
_PADDED = -1e9
"""Of masks: what is added to the scores of padding."""


@translators.register("onnx")
class OnnxTranslator(Translator):
    """A translation student as two ONNX graphs.

    Args:
        directory: what 'cmlm-kd export --to onnx' wrote.
        record: its manifest.
    """

    settings: ClassVar[frozenset[str]] = frozenset({"source_language", "target_language"})
    batch_tokens = 512

    def __init__(self, directory: Path, record: ExportRecord) -> None:
        self.record = record
        entries = json.loads((directory / ENTRIES).read_text(encoding="utf-8"))
        self.sources = {symbol: i for i, symbol in enumerate(entries["source"])}
        self.targets: list[str] = entries["target"]
        self.tokenizer = PieceTokenizer.from_pretrained(str(directory / PIECES))
        self.encoder, self.decoder = (session(directory / name) for name in (ENCODER, DECODER))
        self._states = [one.name for one in self.decoder.get_inputs()]
        self._masked = "mask" in self._states
        # Names beside the token, its position and the mask: those of the encoder's results, then the cache's.
        self._given = [one.name for one in self.encoder.get_outputs()]

    @classmethod
    def load(cls, choice: ModelChoice) -> OnnxTranslator:
        """Load an exported directory."""
        directory = Path(choice.path).expanduser()
        record = read_export(directory)
        record.with_languages(choice)
        if choice.device != "cpu":
            raise UserError(
                f"--device {choice.device}: ONNX graphs are run on the CPU here; give --device cpu"
            )
        return cls(directory, record)

    @property
    def description(self) -> str:
        """What it was exported from."""
        return f"ONNX graphs of fairseq {self.record.architecture}, {self.record.quantization}"

    @property
    def hash(self) -> str:
        """Of all files."""
        text = " ".join(f"{name} {file.sha256}" for name, file in sorted(self.record.checksums.items()))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def languages(self) -> tuple[str | None, str | None]:
        """Those of the student."""
        return self.record.languages[0], self.record.languages[1]

    @property
    def most_source_tokens(self) -> int | None:
        """The positions of the encoder."""
        return self.record.most_source_tokens or None

    def encode(self, texts: Sequence[str]) -> list[Source]:
        """Return the dictionary's entries of each text, end of sentence included."""
        return [
            Source(text, [*(self.sources.get(symbol, UNK) for symbol in pieces.symbols), EOS])
            for text, pieces in zip(texts, self.tokenizer.encode_batch(texts), strict=True)
        ]

    def translate(self, sources: Sequence[Source], decoding: Decoding) -> list[list[Hypothesis]]:
        """Search as fairseq does."""
        if decoding.sampling:
            raise UserError("--sampling is for other kinds of models; ONNX graphs are searched: leave it out")
        rows = range(len(sources))
        if self._masked:
            return self._translate(sources, rows, decoding)
        # A graph without a mask reads sentences of one length at a time.
        by_length: dict[int, list[int]] = {}
        for row in rows:
            by_length.setdefault(len(sources[row].tokens), []).append(row)
        found: dict[int, list[Hypothesis]] = {}
        for group in by_length.values():
            found.update(zip(group, self._translate(sources, group, decoding), strict=True))
        return [found[row] for row in rows]

    def _translate(
        self, sources: Sequence[Source], rows: Sequence[int], decoding: Decoding
    ) -> list[list[Hypothesis]]:
        longest = max(len(sources[row].tokens) for row in rows)
        tokens = np.full((len(rows), longest), PAD, np.int64)  # (B, S)
        for i, row in enumerate(rows):
            tokens[i, : len(sources[row].tokens)] = sources[row].tokens
        mask = np.where(tokens == PAD, np.float32(_PADDED), np.float32(0))
        inputs = {"tokens": tokens, **({"mask": mask} if self._masked else {})}
        given = dict(zip(self._given, self.encoder.run(None, inputs), strict=True))
        fixed = {**given, **({"mask": mask} if self._masked else {})}
        most = min(decoding.most_tokens(longest), max(1, self.record.most_target_tokens - 1))
        step = _Step(self.decoder, fixed, len(rows))
        found = search(step, len(rows), decoding, most, len(self.targets), pad=PAD, end=EOS)
        return [[self._hypothesis(entry, most) for entry in row[: decoding.n_best]] for row in found]

    def _hypothesis(self, found: tuple[list[int], float], most: int) -> Hypothesis:
        entries, score = found
        text = pieces_to_text(self.targets[entry] for entry in entries)
        return Hypothesis(text, score, finished=len(entries) < most)


class _Step:
    """The decoder with its states: called with the last tokens and the rows that they go on from."""

    def __init__(self, decoder: Any, fixed: dict[str, NDArray[Any]], sentences: int) -> None:
        self.decoder = decoder
        self.outputs = [one.name.removeprefix("next_") for one in decoder.get_outputs()][1:]
        known = {one.name: one.shape for one in decoder.get_inputs()}
        self.fixed = {
            name: value for name, value in fixed.items() if name in known and name not in self.outputs
        }
        self.states = {
            name: fixed[name] if name in fixed else _empty(known[name], sentences) for name in self.outputs
        }
        self.positioned = "position" in known

    def __call__(
        self, tokens: NDArray[np.int64], rows: NDArray[np.int64], sentences: NDArray[np.int64], position: int
    ) -> NDArray[np.float32]:
        """Return log-probabilities of the next token, ``(N, V)``.

        Args:
            tokens: ``(N,)``, the last of each hypothesis.
            rows: ``(N,)``, which hypotheses of the step before they go on from; of sentences at first.
            sentences: ``(N,)``, of each hypothesis.
            position: of the tokens.
        """
        inputs = {name: _taken(name, value, sentences) for name, value in self.fixed.items()}
        inputs |= {name: _taken(name, value, rows) for name, value in self.states.items()}
        inputs["token"] = tokens[:, None]
        if self.positioned:
            inputs["position"] = np.array([position], np.int64)
        logs, *states = self.decoder.run(None, inputs)
        self.states = dict(zip(self.outputs, states, strict=True))
        found: NDArray[np.float32] = logs
        return found


def _taken(name: str, value: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return rows of a batch; states of several layers have their layers first."""
    return value[rows] if value.ndim < 3 or name == "memory" else value[:, rows]


def _empty(shape: Sequence[int | str], sentences: int) -> NDArray[np.float32]:
    """Return a cache without tokens: one place, which the decoder does not look at."""
    layers, _, heads, _, width = shape
    return np.zeros((int(layers), sentences, int(heads), 1, int(width)), np.float32)


def session(path: Path) -> Any:
    """Return a graph in ONNX Runtime, with torch's number of threads.

    Raises:
        UserError: it is not installed, or cannot read the file.
    """
    import torch

    try:
        import onnxruntime
    except ImportError:
        raise UserError(
            "ONNX Runtime is not installed; run: pip install 'cmlm-kd[onnx]', or take another model"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of types of its own
        raise UserError(f"ONNX Runtime cannot load {path}: {first_line(error)}; {EXPORT_AGAIN}") from error
