"""Write the embedded corpus to a folder, with a manifest that says how to make it again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cmlm_kd.data.numbers.build import DEFAULT_SIZES, Corpus, CorpusSizes, build_corpus
from cmlm_kd.data.numbers.frames import frames_of_split
from cmlm_kd.errors import UserError
from cmlm_kd.system.files import written_aside
from cmlm_kd.version import __version__

MANIFEST = "manifest.json"
SPLITS = ("train", "valid", "test", "monolingual")
MONOLINGUAL_FILE = "mono.en"
FILES = (
    *(f"{split}.{language}" for split in ("train", "valid", "test") for language in ("de", "en")),
    MONOLINGUAL_FILE,
)


def _contents(corpus: Corpus) -> dict[str, bytes]:
    lines = {MONOLINGUAL_FILE: corpus.monolingual}
    for split, pairs in corpus.parallel.items():
        lines[f"{split}.de"] = [pair.german for pair in pairs]
        lines[f"{split}.en"] = [pair.english for pair in pairs]
    return {name: "".join(f"{line}\n" for line in lines[name]).encode("utf-8") for name in FILES}


def _recipe(seed: int, sizes: CorpusSizes) -> dict[str, Any]:
    """Return everything that decides what the corpus is."""
    return {
        "seed": seed,
        "sizes": asdict(sizes),
        "versions": {"cmlm-kd": __version__, "babel": version("babel"), "num2words": version("num2words")},
        "clauses": {split: len(frames_of_split(split)) for split in SPLITS},
        "frames": {split: sum(map(len, frames_of_split(split))) for split in SPLITS},
    }


def _read_manifest(directory: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "sha256" in manifest else None


def read_corpus_manifest(directory: Path, seed: int, sizes: CorpusSizes) -> dict[str, Any] | None:
    """Return the manifest if ``directory`` already holds exactly this corpus, undamaged; else None."""
    manifest = _read_manifest(directory)
    if manifest is None or any(manifest.get(key) != value for key, value in _recipe(seed, sizes).items()):
        return None
    for name in FILES:
        path = directory / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != manifest["sha256"].get(
            name
        ):
            return None
    return manifest


def write_corpus(directory: Path, seed: int = 1, sizes: CorpusSizes = DEFAULT_SIZES) -> dict[str, Any]:
    """Write ``{train,valid,test}.{de,en}``, ``mono.en`` and, last, ``manifest.json`` to ``directory``.

    Returns:
        the manifest: seed, sizes, versions, number of frames, SHA-256 of every file.

    Raises:
        UserError: if the frames cannot give as many different sentences, or files of these names are in the
            way that this command did not write.
    """
    in_the_way = [name for name in FILES if (directory / name).exists()]
    if in_the_way and _read_manifest(directory) is None:
        raise UserError(
            f"{directory} holds {in_the_way[0]} but no manifest.json of this command; give another folder"
        )
    contents = _contents(build_corpus(seed, sizes))
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    manifest = {**_recipe(seed, sizes), "sha256": hashes}
    for name, content in {**contents, MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode()}.items():
        with written_aside(directory / name) as path:
            path.write_bytes(content)
    return manifest
