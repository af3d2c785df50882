"""Malformed contents: what may stand in a file, a name or a flag that a command reads.

Each generator is a function of the file's bytes and a random generator alone, so that a case has one meaning.
"""

from __future__ import annotations

import ast
import gzip
import json
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Change = Callable[[bytes, random.Random], bytes]

LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


def _any(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield what may stand in a file of any kind."""
    yield "empty", b""
    yield "cut off", data[: chance.randrange(1, max(2, len(data)))]
    yield "one byte less", data[:-1]
    yield "one byte more", data + b"\x00"
    yield "twice", data + data
    yield "zeros", bytes(len(data))
    yield "random bytes", chance.randbytes(max(len(data), 64))
    yield "a Git LFS pointer", LFS_POINTER
    yield "an HTML page", b"<!DOCTYPE html><html><head><title>404</title></head></html>\n"
    yield "zipped", gzip.compress(data, mtime=0)


def _of_text(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    lines = data.splitlines(keepends=True) or [b"\n"]
    place = chance.randrange(len(lines))

    def with_line(line: bytes) -> bytes:
        return b"".join([*lines[:place], line + b"\n", *lines[place + 1 :]])

    yield "a line missing", b"".join(lines[:place] + lines[place + 1 :])
    yield "a line of other bytes than UTF-8", with_line(b"\xff\xfe caf\xe9")
    yield "UTF-16", data.decode("utf-8", "replace").encode("utf-16")
    yield "NUL in a line", with_line(b"a\x00b")
    yield "carriage returns", data.replace(b"\n", b"\r\n")
    yield "a byte order mark", b"\xef\xbb\xbf" + data
    yield "empty lines", b"\n" * len(lines)
    yield "a very long line", with_line(b"word " * 20000)
    yield "a very long word", with_line(b"w" * 100000)
    yield "tabs", with_line(b"\t\t\t\t\t")
    yield "odd separators", with_line("a\u2028b\u0085c\u000bd".encode())
    yield "unknown characters", "\n".join("\U0001f600\u4e2d" for _ in lines).encode() + b"\n"
    yield "numbers", with_line(b"1e999 nan -inf")
    yield "a quote that stays open", with_line(b'"a\tb')


def _of_json(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    try:
        document = json.loads(data)
    except ValueError:
        return
    for name, other in {
        "null": None,
        "a list": [document],
        "an empty object": {},
        "a number": 7,
        "a text": "text",
    }.items():
        yield f"JSON: {name}", json.dumps(other).encode()
    yield "JSON: deep nesting", b"[" * 100000
    yield "JSON: deep objects", b'{"a":' * 50000 + b"1" + b"}" * 50000
    yield "JSON: NaN", data.replace(b"1", b"NaN", 1)
    for _ in range(10):
        path = chance.choice(list(_paths(document)))
        change = chance.choice(list(_OTHERS))
        spoilt = _with(document, path, _OTHERS[change])
        yield f"JSON: {'.'.join(map(str, path))} {change}", json.dumps(spoilt).encode()


_MISSING = object()
_OTHERS: dict[str, Any] = {
    "is missing": _MISSING,
    "is null": None,
    "is negative": -1,
    "is huge": 10**30,
    "is a float": 0.5,
    "is a text": "\u0000text",
    "is a list": [[]],
    "is an object": {"a": {}},
    "is true": True,
    "is a path": "../../outside",
    "is infinite": float("inf"),
}


def _paths(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document[:3])
        if isinstance(document, list)
        else ()
    )
    yield path
    for key, value in entries:
        yield from _paths(value, (*path, key))


def _with(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return None if value is _MISSING else value
    copy = dict(document) if isinstance(document, dict) else list(document)
    if len(path) == 1 and value is _MISSING:
        del copy[path[0]]
    else:
        copy[path[0]] = _with(document[path[0]], path[1:], value)
    return copy


def _of_array(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    def described(**changes: object) -> bytes:
        size = struct.unpack("<H", data[8:10])[0]
        header = data[10 : 10 + size].decode()
        fields = {**ast.literal_eval(header.strip()), **changes}
        text = repr(fields).encode()
        return data[:8] + struct.pack("<H", len(text) + 1) + text + b"\n" + data[10 + size :]

    yield "an array of another type", described(descr="<f8")
    yield "an array of objects", described(descr="|O")
    yield "an array of another shape", described(shape=(1, 1, 1))
    yield "an array of a huge shape", described(shape=(2**40,))
    yield "an array of no row", described(shape=(0,))
    yield "an array of ones", data[:-16] + b"\x01" * 16
    yield "an array of NaN", data[: -len(data) // 4] + b"\xff" * (len(data) // 4)


def _of_weights(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    names = sorted(set(header) - {"__metadata__"})
    body = data[8 + size :]

    def write(fields: dict[str, Any]) -> bytes:
        text = json.dumps(fields).encode()
        return struct.pack("<Q", len(text)) + text + body

    one = chance.choice(names)
    yield "weights: a huge header", struct.pack("<Q", 2**60) + data[8:]
    yield "weights: one missing", write({k: v for k, v in header.items() if k != one})
    yield "weights: another name", write({("x." + k if k == one else k): v for k, v in header.items()})
    yield "weights: another shape", write({**header, one: {**header[one], "shape": [1]}})
    yield "weights: all NaN", data[: 8 + size] + b"\xff\xff\xff\x7f" * (len(body) // 4)
    yield "weights: no object", struct.pack("<Q", 2) + b"[]" + body


def _of_zip(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    import io

    import torch

    def saved(value: object) -> bytes:
        stream = io.BytesIO()
        torch.save(value, stream)
        return stream.getvalue()

    state = torch.load(io.BytesIO(data), weights_only=False)
    yield "a checkpoint of a list", saved([1, 2])
    yield "a checkpoint of nothing", saved({})
    yield "a checkpoint of weights alone", saved(state["model"])
    keys = sorted(state)
    for key in chance.sample(keys, min(4, len(keys))):
        yield f"a checkpoint without {key}", saved({k: v for k, v in state.items() if k != key})
        yield f"a checkpoint with a text for {key}", saved({**state, key: "text"})
    name = chance.choice(sorted(state["model"]))
    yield (
        "a checkpoint without a weight",
        saved({**state, "model": {k: v for k, v in state["model"].items() if k != name}}),
    )
    yield (
        "a checkpoint with a weight of another shape",
        saved({**state, "model": {**state["model"], name: torch.zeros(1, 1, 1)}}),
    )
    yield (
        "a checkpoint with NaN",
        saved({**state, "model": {**state["model"], name: state["model"][name] * float("nan")}}),
    )


_KINDS: dict[str, Callable[[bytes, random.Random], Iterator[tuple[str, bytes]]]] = {
    ".json": _of_json,
    ".npy": _of_array,
    ".safetensors": _of_weights,
    ".pt": _of_zip,
}
_BINARY = {".bin", ".idx", ".arrow", ".npy", ".safetensors", ".pt"}


def malformed(name: str, data: bytes, chance: random.Random) -> dict[str, bytes]:
    """Return what may stand in a file in the place of its contents, by what it is called."""
    kind = Path(name).suffix
    found = dict(_any(data, chance))
    if kind in _KINDS:
        found.update(_KINDS[kind](data, chance))
    if kind not in _BINARY:
        found.update(_of_text(data, chance))
    return {what: contents for what, contents in found.items() if contents != data}


PLACES: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir())[1],
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path.name))[1],
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nowhere"))[1],
}
"""What may be in the place of a file."""

VALUES = (
    "",
    " ",
    "-1",
    "0",
    "1e999",
    "nan",
    "99999999999999999999",
    "0.5",
    "nonsense",
    "nowhere/at/all",
    "../..",
    "a=b=c",
    "\u00e4\u4e2d\U0001f600",
    "n" * 300,
    "a\nb",
    "{source}",
    "hf=nowhere",
    "/dev/null",
    "-",
)
"""What may stand behind a flag, or in the place of an argument."""
