"""Cases of the library's readers under hypothesis: any bytes give a result or one clear error.

Each case is a reader with so many examples, drawn by the seed: whole contents, and edits of contents that
are right, which get further.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cases import Case, Place, chance_of
from contents import malformed
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

EXAMPLES = 150
"""Of each reader and file."""


def _examples(corpus: str) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        from cmlm_kd.data.classification import ReadingOptions, read_examples

        return read_examples(path.parent, "train", ReadingOptions(corpus))

    return read


def _by(
    module: str, name: str, *arguments: Any, folder: bool = False, all_of_it: bool = False
) -> Callable[[Path], Any]:
    """Return a call of a reader with a file, or the folder it is in."""

    def read(path: Path) -> Any:
        import importlib

        function: Any = importlib.import_module(f"cmlm_kd.{module}")
        for part in name.split("."):
            function = getattr(function, part)
        found = function(path.parent if folder else path, *arguments)
        return list(found) if all_of_it else found

    return read


READERS: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "lines": ("translation", "text/train.de", _by("system.text", "read_lines")),
    "data-bin": (
        "translation",
        "data/prepare.json",
        _by("data.translation.manifest", "load_manifest", folder=True),
    ),
    "dictionary": ("translation", "data/dict.de.txt", _by("fairseq_files.databin", "read_dictionary")),
    "store": ("translation", "store/manifest.json", _by("store", "SoftTargetStore.open", folder=True)),
    "shard": ("translation", "store/shard-00000-of-00006.arrow", _by("store", "verify_store", folder=True)),
    "teacher": (
        "translation",
        "exported/cmlm.json",
        _by("models.cmlm_loading", "verify_teacher", folder=True),
    ),
    "generated": ("translation", "generated.txt", _by("evaluation.generation", "read_hypotheses")),
    "decoding speed": ("translation", "generated.log", _by("evaluation.generation", "read_speed")),
    "training log": ("translation", "student.log", _by("evaluation.training_log", "read_validations")),
    "recipe": ("translation", "recipe.yaml", _by("recipes.reading", "read_recipe")),
    "checkpoint": (
        "translation",
        "student/checkpoint_last.pt",
        _by("fairseq_files.checkpoints", "read_checkpoint"),
    ),
    "SST-2": ("classification", "glue/SST-2/train.tsv", _examples("SST-2")),
    "RTE": ("classification", "glue/RTE/train.tsv", _examples("RTE")),
    "own text": ("classification", "own/train.tsv", _examples("text")),
    "word vectors": (
        "classification",
        "vectors.txt",
        _by("models.word_vectors", "iterate_vectors", all_of_it=True),
    ),
    "results": (
        "classification",
        "results.json",
        lambda path: _by("evaluation.seeds", "read_runs", path.parent / "predictions")(path),
    ),
    "cache": ("classification", "cache/manifest.json", _by("teachers.cache", "verify_cache", folder=True)),
    "cached array": (
        "classification",
        "cache/logits-0.npy",
        _by("teachers.cache", "verify_cache", folder=True),
    ),
    "cached states": (
        "translation",
        "states/manifest.json",
        _by("teachers.state_cache", "verify_states", folder=True),
    ),
    "checksums": (
        "classification",
        "exported/bert/checksums.json",
        _by("models.export_checksums", "verify_export", folder=True),
    ),
    "BiLSTM": (
        "classification",
        "exported/bilstm/config.json",
        _by("models.bilstm.directory", "load_bilstm", folder=True),
    ),
    "BiLSTM's words": (
        "classification",
        "exported/bilstm/vocabulary.json",
        _by("models.bilstm.directory", "load_bilstm", folder=True),
    ),
    "FastBERT": (
        "classification",
        "exported/fastbert/config.json",
        _by("models.fastbert.directory", "load_fastbert", folder=True),
    ),
    "tokenised text": (
        "pretraining",
        "pieces/train/manifest.json",
        lambda path: _by("data.text.corpus", "TokenizedCorpus")(path.parent).verify(),
    ),
    "sizes of rows": (
        "pretraining",
        "pieces/train/sizes.bin",
        lambda path: _by("data.text.corpus", "TokenizedCorpus")(path.parent).verify(),
    ),
}
"""Name -> group, file, and what reads it."""


def hypothesis_readers(base: Path, seed_: int) -> Iterator[Case]:
    """Yield a case for each reader."""
    del base
    for name in READERS:
        yield Case(f"readers/{name}/{EXAMPLES} examples", partial(_try, name, seed_))


def _edits(data: bytes) -> st.SearchStrategy[bytes]:
    """Edits of contents: a piece of it is replaced by other bytes."""

    def edit(parts: tuple[int, int, bytes]) -> bytes:
        start, length, new = parts
        return data[:start] + new + data[start + length :]

    places = st.integers(0, max(0, len(data) - 1))
    pieces = st.one_of(
        st.binary(max_size=8),
        st.sampled_from(
            [b'"', b"{", b"[", b"\n", b"\t", b"null", b"-1", b"1e999", b"\xff", b"", b"\x00", b"true"]
        ),
        st.text(max_size=5).map(lambda text: text.encode("utf-8", "surrogatepass")),
    )
    return st.tuples(places, st.integers(0, 12), pieces).map(edit)


def _try(name: str, seed_: int, place: Place) -> str | None:
    from cmlm_kd.errors import UserError, os_error_message, os_error_of

    group, file, read = READERS[name]
    shutil.rmtree(place.area, ignore_errors=True)
    folder = place.area / "reading"
    shutil.copytree(place.base / group, folder)
    path = folder / file
    data = path.read_bytes()
    listed = list(malformed(file, data, chance_of(seed_, name)).values())
    wrong: list[str] = []

    @seed(seed_)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(st.binary(max_size=200), _edits(data), st.sampled_from(listed)))
    def check(contents: bytes) -> None:
        path.write_bytes(contents)
        try:
            read(path)
        except UserError:
            pass
        except MemoryError:
            wrong.append(f"{contents[:60]!r}: not enough memory")
        except Exception as error:
            found = os_error_of(error)
            if found is None or os_error_message(found) is None:
                wrong.append(f"{contents[:80]!r}: {type(error).__name__}: {str(error)[:200]}")

    check()
    shutil.rmtree(place.area, ignore_errors=True)
    return f"{len(wrong)} of {EXAMPLES}: {wrong[0]}" if wrong else None
