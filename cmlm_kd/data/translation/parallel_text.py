"""The parallel text that a data-bin is made of, read once, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice

from tqdm import tqdm

from cmlm_kd.data.translation.manifest import PrepareOptions
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import dictionary_hash
from cmlm_kd.system.text import find_side, iterate_pairs
from cmlm_kd.tokenization.loading import serialized_hash
from cmlm_kd.tokenization.pieces import PieceTokenizer

_CHUNK = 4_000  # pairs


@dataclass(frozen=True)
class Chunk:
    """Some lines of a split.

    Attributes:
        pairs: source and target of those that have text on both sides.
        numbers: the line of each of them, from 1.
        empty: lines that have an empty side.
    """

    pairs: list[tuple[str, str]]
    numbers: list[int]
    empty: int


class ParallelText:
    """All text of a data-bin, split after split, each line once.

    Args:
        options: whose text it is.
        tokenizer: what it will be read with, which the fingerprint covers.

    Attributes:
        tokenizer_hash: :func:`cmlm_kd.tokenization.loading.serialized_hash` of it.

    Raises:
        UserError: if a file is missing.
    """

    def __init__(self, options: PrepareOptions, tokenizer: PieceTokenizer) -> None:
        self._options = options
        self.tokenizer_hash = serialized_hash(tokenizer.tokenizer)
        self._digest = hashlib.sha256(self.tokenizer_hash.encode())
        settings = {
            name: value
            for name, value in asdict(options).items()
            if name not in ("teacher", "splits", "dictionaries")
        }
        if options.dictionaries:  # what they hold decides, not where they are
            settings["dictionaries"] = [
                dictionary_hash(options.dictionaries / f"dict.{language}.txt")
                for language in options.languages
            ]
        self._digest.update(json.dumps(settings, sort_keys=True).encode())
        # Late in a long text nobody wants to hear that another file does not exist.
        self._files = {
            split: [find_side(prefix, language) for language in options.languages]
            for split, prefix in options.splits.items()
        }

    def splits(self) -> Iterator[tuple[str, Iterator[Chunk]]]:
        """Yield each split's name and lines, which must be read to their end before the next split's.

        Raises:
            UserError: if the lines do not pair up, a file is not UTF-8 or empty, or a side is empty that is
                not to be dropped.
        """
        for split in sorted(self._options.splits):
            self._digest.update(split.encode())
            yield split, self._chunks(split)

    def fingerprint(self) -> str:
        """Return a hash of tokenizer, settings and all that was read; what was not read yet is read now."""
        for _, chunks in self.splits():
            for _ in chunks:
                pass
        return self.digest()

    def digest(self) -> str:
        """Return a hash of tokenizer, settings and the text that was read so far."""
        return self._digest.hexdigest()

    def _chunks(self, split: str) -> Iterator[Chunk]:
        prefix = self._options.splits[split]
        lines = enumerate(iterate_pairs(prefix, self._options.languages), 1)
        read, empty, first_empty = 0, 0, 0
        with self._progress(split) as bar:
            while chunk := list(islice(lines, _CHUNK)):
                kept = [(number, pair) for number, pair in chunk if all(side.strip() for side in pair)]
                encoded = ["\n".join(pair).encode() + b"\n" for _, pair in kept]
                self._digest.update(b"".join(encoded))
                read, empty = read + len(chunk), empty + len(chunk) - len(kept)
                if not first_empty and len(kept) < len(chunk):
                    numbers = {number for number, _ in kept}
                    first_empty = next(number for number, _ in chunk if number not in numbers)
                bar.update(sum(map(len, encoded)))
                if not empty or self._options.drop_empty:
                    yield Chunk([pair for _, pair in kept], [n for n, _ in kept], len(chunk) - len(kept))
        if empty and not self._options.drop_empty:
            raise UserError(
                f"{prefix}: {empty} of {read} pairs have an empty side, the first in line {first_empty}; "
                "mend the text, or pass --drop-empty to leave these pairs out"
            )

    def _progress(self, split: str) -> tqdm[None]:
        """Return a bar of the bytes that are read, of all where files are not compressed."""
        files = self._files[split]
        known = all(path.suffix != ".gz" for path in files)
        total = sum(path.stat().st_size for path in files) if known else None
        return tqdm(total=total, desc=f"text of {split}", unit="B", unit_scale=True, disable=None)
