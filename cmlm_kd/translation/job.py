"""The whole of ``cmlm-kd translate``: a text file in, a text file and its manifest out, by shards."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cmlm_kd.api.translator import Decoding, Hypothesis, Translator
from cmlm_kd.errors import UserError
from cmlm_kd.system.files import check_new_file, written_aside
from cmlm_kd.system.ranges import AT_LEAST_ONE, check_range
from cmlm_kd.translation.engine import translate_texts
from cmlm_kd.translation.parts import Parts
from cmlm_kd.translation.text import TextFile
from cmlm_kd.version import __version__

FORMAT = "cmlm-kd translation"


@dataclass(frozen=True)
class JobOptions:
    """How to go through a file.

    Attributes:
        input: sentences, one a line, plain or gzipped.
        output: file to write; its manifest is ``OUTPUT.json``, and shards lie in ``OUTPUT.parts`` until then.
        max_tokens: source tokens a batch, padding included, at least 1.
        shard_rows: lines a shard, at least 1; an interruption loses at most one shard of work.

    Raises:
        UserError: a value is out of its range.
    """

    input: Path
    output: Path
    max_tokens: int = 4096
    shard_rows: int = 2048

    def __post_init__(self) -> None:
        for name in ("max_tokens", "shard_rows"):
            check_range(f"--{name.replace('_', '-')}", getattr(self, name), AT_LEAST_ONE)

    @property
    def manifest(self) -> Path:
        """Where the manifest will be."""
        return self.output.with_name(f"{self.output.name}.json")

    @property
    def parts(self) -> Path:
        """Where shards lie until all are there."""
        return self.output.with_name(f"{self.output.name}.parts")


class TranslationJob:
    """One text to translate with one translator.

    Args:
        translator: what translates.
        text: the input.
        decoding: how to decode.
        options: how to go through the file.
    """

    def __init__(
        self, translator: Translator, text: TextFile, decoding: Decoding, options: JobOptions
    ) -> None:
        self.translator = translator
        self.text = text
        self.decoding = decoding
        self.options = options
        self.parts = Parts(options.parts, self.identity())

    def identity(self) -> dict[str, Any]:
        """Return all that a shard depends on."""
        shards = -(-self.text.lines // self.options.shard_rows)
        return {
            "format": FORMAT,
            "model": self.translator.description,
            "model_hash": self.translator.hash,
            "languages": list(self.translator.languages),
            "decoding": asdict(self.decoding),
            "max_tokens": self.options.max_tokens,
            "shard_rows": self.options.shard_rows,
            "lines": self.text.lines,
            "corpus_hash": self.text.hash,
            "shards": shards,
        }

    def run(self) -> dict[str, Any]:
        """Translate what is not translated yet, write the output, and return its manifest."""
        check_new_file(self.options.output, "choose another --output, or delete it to translate again")
        self.parts.open()
        self.translate(self.parts.pending())
        return self.finish()

    def translate(self, pending: Sequence[int]) -> None:
        """Translate some shards, each written as soon as it is done."""
        wanted, rows = set(pending), self.options.shard_rows
        if not wanted:
            return
        done = self.text.lines - sum(min(rows, self.text.lines - index * rows) for index in wanted)
        with _progress(self.text.lines, done) as progress:
            for index, texts in enumerate(self.text.shards(rows)):
                if index in wanted:
                    self.parts.write(index, self._shard(index, texts, progress))

    def _shard(self, index: int, texts: Sequence[str], progress: tqdm[None]) -> list[list[Hypothesis]]:
        decoding = replace(self.decoding, seed=self.decoding.seed * 1_000_003 + index)
        return translate_texts(
            self.translator,
            texts,
            decoding,
            max_tokens=self.options.max_tokens,
            report=progress.update,
        )

    def finish(self) -> dict[str, Any]:
        """Write output and manifest out of the shards, which disappear."""
        empty = _write_lines(self.options.output, self.parts.read())
        manifest = {
            **self.identity(),
            "version": __version__,
            "counts": {"lines": self.text.lines, "empty": empty},
        }
        with written_aside(self.options.manifest) as partial:
            partial.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        self.parts.remove()
        return manifest


def _write_lines(path: Path, rows: Iterable[list[Hypothesis]]) -> int:
    """Write the best hypothesis of each source; returns how many say nothing."""
    empty = 0
    with written_aside(path) as partial, partial.open("w", encoding="utf-8") as stream:
        for row in rows:
            text = row[0].text if row else ""
            empty += not text
            stream.write(f"{text}\n")
    return empty


def _progress(total: int, done: int) -> tqdm[None]:
    """Return a bar that counts sentences; in a log file it is a line each half minute."""
    return tqdm(
        total=total,
        initial=done,
        unit="sent",
        desc="translating",
        mininterval=0.2 if sys.stderr.isatty() else 30,
    )


def translate_file(translator: Translator, decoding: Decoding, options: JobOptions) -> dict[str, Any]:
    """Translate a file, or go on where an interrupted run stopped, and return the manifest.

    Raises:
        UserError: for an output that is in the way, shards of another job, or a full disk.
    """
    if options.output.resolve() == options.input.resolve():
        raise UserError(f"--output {options.output} is the input; choose another --output")
    return TranslationJob(translator, TextFile.open(options.input), decoding, options).run()
