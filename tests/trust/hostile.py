"""Cases of hostile files, with harmless stand-ins: code that only leaves a trace, names that lead outside.

Nothing of a file may be run, nothing written outside the folder, and what is refused is named.
"""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from cases import Case, Place
from catalogue import BY_NAME, PROGRAMS
from children import Surroundings
from programs import Program
from verdicts import wrong_refusal, wrong_success

TRACE = "trace"
"""The file that hostile code would leave beside the case's folder."""


class LeavesATrace:
    """What a pickle of it does when it is read: make an empty file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


def security(base: Path, seed: int) -> Iterator[Case]:
    """Yield the cases."""
    del seed
    for program in PROGRAMS:
        for name in program.reads:
            for what, change in _changes(base / program.group / name, name):
                yield Case(f"security/{program.name}/{name}/{what}", partial(_try, program, name, change))
    for what, (name, words, change) in NAMES.items():
        yield Case(f"security/{name}/{what}", partial(_with_name, name, words, change))
    for name in (
        "../../../outside",
        "/tmp/outside",
        "de-en/../../../../outside",
        "de-en/train.tags.de-en.de",
    ):
        for link in ("", "/etc/passwd", "../../.."):
            kind = f"link to {link}" if link else "file"
            yield Case(f"security/prepare_iwslt14/{name} as a {kind}", partial(_archive, name, link))
    yield Case("security/augment by a masked language model/standard input answers nothing", _answers)


Change = Callable[[Path, Path], None]
"""Spoils a file; the second path is that of the trace."""


def _changes(path: Path, name: str) -> Iterator[tuple[str, Change]]:
    if path.name in ("config.json", "tokenizer_config.json"):
        yield "code of its own", _auto_map
        yield "a name of a class that is not of transformers", _foreign_class
    if path.suffix in (".pt", ".safetensors", ".npy"):
        yield "a pickle", lambda file, trace: file.write_bytes(pickle.dumps(LeavesATrace(trace)))
    if path.suffix == ".pt":
        yield "a pickle in a checkpoint", _pickle_in_checkpoint
        for setting in ("encoder_layers", "adam_betas", "${oc.env:HOME}"):
            yield f"a setting that is a program: {setting}", partial(_program_as_setting, setting)
    if path.suffix == ".npy":
        yield "a pickle in an array", _pickle_in_array
    if path.name == "model.safetensors":
        yield "a pickle beside no weights", _pickled_weights
    if (path.suffix == ".json" and "manifest" in name + path.name) or path.name == "prepare.json":
        for outside in ("../../outside", "/etc/passwd"):
            yield f"names that are {outside}", partial(_names_outside, outside)


def _auto_map(file: Path, trace: Path) -> None:
    settings = json.loads(file.read_text())
    classes = {"AutoConfig": "code.C", "AutoModel": "code.M", "AutoTokenizer": ["code.T", "code.T"]}
    settings |= {"auto_map": classes, "model_type": "nobody-knows", "tokenizer_class": "T"}
    file.write_text(json.dumps(settings))
    (file.parent / "code.py").write_text(f"open({str(trace)!r}, 'w')\n")


def _foreign_class(file: Path, trace: Path) -> None:
    settings = json.loads(file.read_text())
    settings |= {"tokenizer_class": "os.system", "architectures": ["os.system"], "model_type": "os"}
    file.write_text(json.dumps(settings))
    (file.parent / "os.py").write_text(f"open({str(trace)!r}, 'w')\n")


def _pickle_in_checkpoint(file: Path, trace: Path) -> None:
    """Put a pickle that leaves a trace into the archive of a checkpoint."""
    changed = io.BytesIO()
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(changed, "w") as other:
        for entry in archive.infolist():
            data = archive.read(entry)
            if entry.filename.endswith("data.pkl"):
                data = pickle.dumps(LeavesATrace(trace), protocol=2)
            other.writestr(entry, data)
    file.write_bytes(changed.getvalue())


def _program_as_setting(setting: str, file: Path, trace: Path) -> None:
    import torch

    state = torch.load(file, weights_only=False)
    program = f"open({str(trace)!r}, 'w') and [(512, 3)]"
    for part in ("model", "optimizer", "task"):
        settings = state["cfg"].get(part) if state.get("cfg") else None
        if settings is None:
            continue
        fields = settings if isinstance(settings, dict) else vars(settings)
        if setting.startswith("$"):
            fields["user_dir" if part == "task" else "lr_scheduler_note"] = setting
        else:
            fields[setting] = program
            fields["arch" if part == "model" else "note"] = "fconv"
    torch.save(state, file)


def _pickle_in_array(file: Path, trace: Path) -> None:
    array = np.empty(1, dtype=object)
    array[0] = LeavesATrace(trace)
    np.save(file, array, allow_pickle=True)


def _pickled_weights(file: Path, trace: Path) -> None:
    file.unlink()
    (file.parent / "pytorch_model.bin").write_bytes(pickle.dumps(LeavesATrace(trace)))


def _names_outside(outside: str, file: Path, trace: Path) -> None:
    """Replace every text of a manifest that looks like a file's name."""
    del trace

    def replaced(value: object) -> object:
        if isinstance(value, dict):
            return {
                (outside if isinstance(key, str) and "." in key else key): replaced(v)
                for key, v in value.items()
                if key != "manifest_sha256"
            }
        if isinstance(value, list):
            return [replaced(entry) for entry in value]
        is_name = isinstance(value, str) and "." in value and " " not in value
        return outside if is_name else value

    file.write_text(json.dumps(replaced(json.loads(file.read_text()))))


def _try(program: Program, name: str, change: Change, place: Place) -> str | None:
    path = place.fresh(program) / name
    trace = place.area / TRACE
    change(path, trace)
    before = place.files()
    ended = place.run(program, around=Surroundings(stdin=b"y\nyes\n1\n" * 20))
    return _judge(program, place, before, ended)


def _judge(program: Program, place: Place, before: dict, ended) -> str | None:
    outside = place.outside()
    if TRACE in outside:
        return "code of the file was run"
    if outside:
        return f"wrote {outside[:5]}, which are outside its folder"
    if "[y/N]" in ended.out + ended.err:
        return "asks whether to run code"
    after = place.files()
    if ended.status:
        return wrong_refusal(ended, program, before, after)
    return wrong_success(ended, program, before, after)


def _none(folder: Path) -> None:
    """Leave everything as it is."""


def _system_called(name: str, folder: Path) -> None:
    """Let a table of results call a system by a path."""
    file = folder / "results.json"
    file.write_text(file.read_text().replace("bert@1", f"{name}@1"))


NAMES: dict[str, tuple[str, tuple[str, ...], Callable[[Path], None]]] = {
    "a model's name that is a path": (
        "evaluate",
        (
            *["evaluate", "glue/SST-2", "--corpus", "SST-2", "--no-speed", "--predictions", "new"],
            "--model",
            "../../x=exported/bert",
        ),
        _none,
    ),
    "a model's name that is absolute": (
        "evaluate",
        (
            *["evaluate", "glue/SST-2", "--corpus", "SST-2", "--no-speed", "--predictions", "new"],
            "--model",
            "/tmp/x=exported/bert",
        ),
        _none,
    ),
    "a model's name of dots": (
        "evaluate",
        (
            *["evaluate", "glue/SST-2", "--corpus", "SST-2", "--no-speed", "--predictions", "new"],
            "--model",
            "..=exported/bert",
        ),
        _none,
    ),
    "a system's name that is a path": (
        "compare-seeds",
        tuple(["compare-seeds", "results.json", "--predictions", "predictions", "--baseline", "bert"]),
        partial(_system_called, "../../x"),
    ),
    "a language that is a path": (
        "prepare",
        tuple(
            [
                "prepare",
                "--teacher",
                "bert",
                "-s",
                "../../de",
                "-t",
                "en",
                "--trainpref",
                "text/train",
                "--destdir",
                "new",
            ]
        ),
        _none,
    ),
    "a language of dots": (
        "prepare",
        tuple(
            [
                "prepare",
                "--teacher",
                "bert",
                "-s",
                "..",
                "-t",
                "en",
                "--trainpref",
                "text/train",
                "--destdir",
                "new",
            ]
        ),
        _none,
    ),
    "a shard that is a path": (
        "translate",
        (*BY_NAME["translate"].words, "--shard", "../1"),
        _none,
    ),
    "a tagger that is a program": (
        "augment",
        (*BY_NAME["augment"].words, "--tagger", "os:getcwd"),
        _none,
    ),
    "a step that leads outside": (
        "run",
        BY_NAME["run"].words,
        lambda folder: (folder / "recipe.yaml").write_text(
            (folder / "recipe.yaml").read_text().replace("outputs: [first]", "outputs: [../../../first]")
        ),
    ),
    "a recipe of Python objects": (
        "run",
        BY_NAME["run"].words,
        lambda folder: (folder / "recipe.yaml").write_text(
            f"name: !!python/object/apply:os.mkdir ['{folder.parents[2] / TRACE}']\n"
            + (folder / "recipe.yaml").read_text().split("\n", 1)[1]
        ),
    ),
    "an expression that reaches for classes": (
        "run",
        BY_NAME["run"].words,
        lambda folder: (folder / "recipe.yaml").write_text(
            (folder / "recipe.yaml")
            .read_text()
            .replace("{{ word }}", "{{ ''.__class__.__mro__[1].__subclasses__() | length }}")
        ),
    ),
    "a recipe that includes what is outside": (
        "run",
        BY_NAME["run"].words,
        lambda folder: (folder / "recipe.yaml").write_text(
            "include: /etc/passwd\n" + (folder / "recipe.yaml").read_text()
        ),
    ),
    "an alias bomb": (
        "run",
        BY_NAME["run"].words,
        lambda folder: (folder / "recipe.yaml").write_text(
            "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
            + (folder / "recipe.yaml").read_text()
        ),
    ),
}
"""What is done -> program, its words, and what is changed first."""


def _with_name(name: str, words: tuple[str, ...], change: Callable[[Path], None], place: Place) -> str | None:
    program = BY_NAME[name]
    folder = place.fresh(program)
    change(folder)
    before = place.files()
    ended = place.run(program, words)
    return _judge(program, place, before, ended)


def _answers(place: Place) -> str | None:
    """Let a teacher ask on the terminal, where the answers are ready."""
    program = BY_NAME["augment by a masked language model"]
    folder = place.fresh(program)
    _auto_map(folder / "mlm" / "config.json", place.area / TRACE)
    ended = place.run(program, around=Surroundings(stdin=b"y\n" * 100))
    if not ended.status or "auto_map" not in ended.err:
        return f"status {ended.status}: {ended.err[-300:]!r}"
    return "code of the file was run" if TRACE in place.outside() else None


UNPACKED = Program("prepare_iwslt14", "translation", ("prepare_iwslt14.py", "de-en.tgz", "new"), (), ("new",))


def _archive(name: str, link: str, place: Place) -> str | None:
    """Read an archive with one entry, whose name or link leads outside."""
    folder = place.fresh(UNPACKED)
    with tarfile.open(folder / "de-en.tgz", "w:gz") as archive:
        member = tarfile.TarInfo(name)
        if link:
            member.type, member.linkname = tarfile.SYMTYPE, link
        else:
            member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    before = place.files()
    return _judge(UNPACKED, place, before, place.run(UNPACKED))
