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
from cmlm_kd.data.translating.elsewhere import Elsewhere
from cmlm_kd.data.translating.engine import is_visible, seed_of, translate_texts
from cmlm_kd.data.translating.parts import Parts
from cmlm_kd.data.translating.selection import Selection, Selector
from cmlm_kd.data.translating.text import TextFile
from cmlm_kd.data.translation.synthetic import FORMAT, manifest_path, read_translation_manifest
from cmlm_kd.errors import UserError
from cmlm_kd.system.aside import parts_of
from cmlm_kd.system.environment import describe_environment
from cmlm_kd.system.files import check_new_file, file_sha256, written_aside
from cmlm_kd.system.ranges import AT_LEAST_ONE, check_range
from cmlm_kd.system.shares import Share

FEW = 16
"""Fewer sources than this may all be translated without an end by chance: the last lines of a text, say."""


@dataclass(frozen=True)
class JobOptions:
    """How to go through a file.

    Attributes:
        input: sentences, one a line, plain or gzipped.
        parts: folder of the shards until all are there; None for ``OUTPUT.parts``, which disappears at the
            end.
        max_tokens: source tokens a batch, padding included, at least 1; None for what suits the model.
        shard_rows: lines a shard, at least 1; an interruption loses at most one shard of work.
        shard: whose shards to translate, without writing the output; None for all.
        merge: folders of shards that other processes wrote; then nothing is translated here.
        device: as torch names it, for the manifest.

    Raises:
        UserError: a value is out of its range.
    """

    input: Path
    parts: Path | None = None
    max_tokens: int | None = None
    shard_rows: int = 2048
    shard: Share | None = None
    merge: tuple[Path, ...] = ()
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_range("--shard-rows", self.shard_rows, AT_LEAST_ONE)
        if self.max_tokens is not None:
            check_range("--max-tokens", self.max_tokens, AT_LEAST_ONE)
        if self.shard is not None and self.merge:
            raise UserError("--shard and --merge are both given; merge when all shards have been translated")


class TranslationJob:
    """One text to translate with one translator.

    Args:
        translator: what translates.
        text: the input.
        decoding: how to decode.
        options: how to go through the file.
        selection: what becomes of the hypotheses.
        elsewhere: which workers translate; None: this process.
    """

    def __init__(
        self,
        translator: Translator,
        text: TextFile,
        decoding: Decoding,
        options: JobOptions,
        selection: Selection,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.translator = translator
        self.text = text
        self.decoding = decoding
        self.options = options
        self.selection = selection
        self.elsewhere = elsewhere
        self.max_tokens = options.max_tokens or translator.batch_tokens
        self.parts = Parts(options.parts or parts_of(selection.output), self.identity())

    def identity(self) -> dict[str, Any]:
        """Return all that a shard depends on, as JSON would give it back."""
        return {
            "format": FORMAT,
            "model": self.translator.description,
            "model_hash": self.translator.hash,
            "languages": list(self.translator.languages),
            "decoding": asdict(self.decoding),
            "max_tokens": self.max_tokens,
            "shard_rows": self.options.shard_rows,
            "lines": self.text.lines,
            "corpus_hash": self.text.hash,
            "shards": -(-self.text.lines // self.options.shard_rows),
        }

    def run(self) -> dict[str, Any] | None:
        """Translate what is not translated yet and write the outputs.

        Returns:
            the manifest; None where ``--shard`` leaves the outputs to another run.
        """
        reference = self.selection.open_reference(self.text)
        known = self._kept(reference)
        if known is not None:
            return known
        if self.options.shard is not None:
            return self._run(reference)
        with self.parts.alone(self.selection.output):
            known = self._kept(reference)  # another process may have been quicker
            if known is None:
                return self._run(reference)
            self.parts.remove_if_empty()
            return known

    def _run(self, reference: TextFile | None) -> dict[str, Any] | None:
        selector = Selector(self.selection, self.text, reference, self.parts.read)
        self.parts.open()
        try:
            if self.options.merge:
                self.parts.collect(self.options.merge)
            pending = self.parts.pending(self._mine(range(self.parts.count)))
            if self.options.merge:
                self._check_merged(pending)
            self.translate(pending)
        except UserError:  # a model that is of no use, say: the next try may have other settings
            if self.options.shard is None:
                self.parts.remove_if_empty()
            raise
        if self.options.shard is not None:
            return None
        return self._finish(reference, selector)

    def _kept(self, reference: TextFile | None) -> dict[str, Any] | None:
        """Return the manifest of an equal translation that is already there.

        Raises:
            UserError: something else is there.
        """
        if self.selection.output.exists():
            manifest, wanted = read_translation_manifest(self.selection.output), self._settings(reference)
            wanted |= {name: file_sha256(path) for name, path in self._written().items()}
            if manifest and all(manifest.get(name) == value for name, value in wanted.items()):
                return manifest
        ours = self.parts.claimed()
        for path in self.selection.places:
            if path.resolve() not in ours:
                check_new_file(path, "it is in the way: move it away, or choose another name")
        return None

    def _written(self) -> dict[str, Path]:
        """Return the outputs by the names that their hashes have in the manifest."""
        selection = self.selection
        named = {
            "output_hash": selection.output,
            "source_hash": selection.output_source,
            "scores_hash": selection.output_scores,
        }
        return {name: path for name, path in named.items() if path is not None}

    def _settings(self, reference: TextFile | None) -> dict[str, Any]:
        settings = {
            **self.identity(),
            **self.selection.settings(),
            "reference_hash": None if reference is None else reference.hash,
        }
        return dict(json.loads(json.dumps(settings)))

    def _mine(self, shards: Iterable[int]) -> list[int]:
        share = self.options.shard
        return [index for index in shards if share is None or share.holds(index)]

    def _check_merged(self, pending: Sequence[int]) -> None:
        if pending:
            numbers = ", ".join(str(index) for index in pending[:5]) + (", ..." if len(pending) > 5 else "")
            raise UserError(
                f"--merge: {len(pending)} of {self.parts.count} shards are in none of the folders "
                f"({numbers}); name all folders, or leave --merge out to translate them here"
            )

    def translate(self, wanted: Sequence[int]) -> None:
        """Translate some shards, each written as soon as it is done."""
        rows, left = self.options.shard_rows, set(wanted)
        if not left:
            return
        todo = sum(min(rows, self.text.lines - index * rows) for index in left)
        total = todo if self.options.shard is not None else self.text.lines
        shards = ((index, texts) for index, texts in enumerate(self.text.shards(rows)) if index in left)
        with _progress(total, total - todo) as progress:
            if self.elsewhere is not None:
                found = self.elsewhere.translated(dict(shards), self.decoding, self.max_tokens)
                for index, texts, rows_found in found:
                    self._check_shard(texts, rows_found)
                    self.parts.write(index, rows_found)
                    progress.update(len(texts))
                return
            for index, texts in shards:
                self.parts.write(index, self._shard(index, texts, progress))

    def _shard(self, index: int, texts: Sequence[str], progress: tqdm[None]) -> list[list[Hypothesis]]:
        found = translate_texts(
            self.translator,
            texts,
            replace(self.decoding, seed=seed_of(self.decoding.seed, index)),
            max_tokens=self.max_tokens,
            report=progress.update,
        )
        self._check_shard(texts, found)
        return found

    def _check_shard(self, texts: Sequence[str], found: Sequence[Sequence[Hypothesis]]) -> None:
        """Refuse a model that is of no use to any of the lines, as far as some lines can tell.

        Raises:
            UserError: it reads none of them, or ends no translation.
        """
        asked, answered = sum(map(is_visible, texts)), sum(map(bool, found))
        enough = min(FEW, self.text.lines)
        if asked >= enough and not answered:
            raise UserError(
                f"--model {self.translator.description} reads none of {asked:,} lines of "
                f"{self.text.path}: with what stands before them they exceed the "
                f"{self.translator.most_source_tokens} tokens that it takes; shorten the lines, or the "
                "prompt and its examples"
            )
        said = [entry for row in found for entry in row]
        if answered >= enough and not any(entry.text and entry.finished for entry in said):
            raise UserError(
                f"--model {self.translator.description} ends none of {len(said):,} translations within "
                f"--max-length {self.decoding.max_length}, or says nothing; is it trained, and for this "
                "language?"
            )

    def _environment(self) -> dict[str, Any]:
        if self.elsewhere is None:
            return dict(describe_environment(self.options.device))
        return {**describe_environment(self.options.device), "threads": self.elsewhere.engine.threads}

    def _finish(self, reference: TextFile | None, selector: Selector) -> dict[str, Any]:
        """Write outputs and manifest out of the shards, which disappear unless they were asked for."""
        self.parts.claim([*self.selection.places, manifest_path(self.selection.output)])
        counts = selector.write()
        manifest = {
            **self._settings(reference),
            "synthetic": True,
            **{name: file_sha256(path) for name, path in self._written().items()},
            "counts": counts,
            "environment": self._environment(),
        }
        with written_aside(manifest_path(self.selection.output)) as partial:
            partial.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        self.parts.release()
        if self.options.parts is None:
            self.parts.remove()
        return manifest


def _progress(total: int, done: int) -> tqdm[None]:
    """Return a bar that counts sentences; in a log file it is a line each half minute."""
    return tqdm(
        total=total,
        initial=done,
        unit="sent",
        desc="translating",
        mininterval=0.2 if sys.stderr.isatty() else 30,
    )


def check_job(decoding: Decoding, options: JobOptions, selection: Selection) -> None:
    """Refuse what does not go together, before a model is loaded.

    Raises:
        UserError: naming the flag.
    """
    selection.check(decoding.n_best)
    read = {place.resolve() for place in (options.input, selection.reference) if place is not None}
    for path in [*selection.places, manifest_path(selection.output)]:
        if path.resolve() in read:
            raise UserError(f"{path} is an input and an output; choose another name for the output")


def translate_file(
    translator: Translator,
    decoding: Decoding,
    options: JobOptions,
    selection: Selection,
    elsewhere: Elsewhere | None = None,
) -> dict[str, Any] | None:
    """Translate a file, or go on where an interrupted run stopped; see :class:`TranslationJob`.

    Raises:
        UserError: for an output that is in the way, shards of another job, a reference of another length, or
            a scorer that fails.
    """
    check_job(decoding, options, selection)
    language = selection.target_language or translator.languages[1]
    selection = replace(selection, target_language=language)
    return TranslationJob(
        translator, TextFile.open(options.input), decoding, options, selection, elsewhere
    ).run()
