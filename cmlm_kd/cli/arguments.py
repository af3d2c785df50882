"""Arguments that several commands have, and what they mean."""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cmlm_kd.errors import UserError

if TYPE_CHECKING:
    from cmlm_kd.system.ray_engine import RayEngine
    from cmlm_kd.system.shares import Share


def add_device(parser: argparse._ActionsContainer) -> None:
    """Declare ``--device``; :func:`chosen_device` reads it."""
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one")


def chosen_device(arguments: argparse.Namespace, model: str | Path = "") -> str:
    """Return the device that ``--device`` names, or a GPU if there is one.

    Args:
        arguments: parsed.
        model: what is to run; ONNX graphs do on the CPU, unless another device is asked for by name.

    Raises:
        UserError: for a device that cannot be used.
    """
    import torch

    from cmlm_kd.system.devices import check_device

    device: str | None = arguments.device
    if device is None:
        usable = torch.cuda.is_available() and not _is_onnx(str(model))
        device = _own_gpu() if usable else "cpu"
    check_device(device)
    return device


def _is_onnx(model: str) -> bool:
    """Return whether a model, ``[KIND=]PATH``, is a directory of ONNX graphs."""
    kind, _, path = model.rpartition("=")
    return kind == "onnx" or any(
        (Path(place).expanduser() / name).is_file()
        for place in (model, path)
        for name in ("decoder.onnx", "model.onnx")
    )


def _own_gpu() -> str:
    """Return the GPU of a process: where a launcher has started several, each takes its own, in turn."""
    import torch

    from cmlm_kd.system.shares import local_rank

    rank = local_rank() % torch.cuda.device_count()
    return f"cuda:{rank}" if rank else "cuda"


def without_lone_seeds(named: dict[str, Path]) -> dict[str, Path]:
    """Return ``NAME@SEED -> file`` as ``NAME -> file`` where no system has a second run to tell it from."""
    from cmlm_kd.evaluation.differences import runs_by_system, system_of

    if any(len(runs) > 1 for runs in runs_by_system(named).values()):
        return named
    return {system_of(name): file for name, file in named.items()}


def baseline_among(named: Iterable[str], baseline: str) -> str:
    """Return the baseline that a user names, who may say ``NAME@SEED`` where it is called ``NAME`` by now."""
    from cmlm_kd.evaluation.differences import system_of

    return baseline if baseline in named else system_of(baseline)


def add_shard(parser: argparse._ActionsContainer, work: str, and_then: str) -> None:
    """Declare ``--shard``; :func:`chosen_share` reads it.

    Args:
        parser: of the command.
        work: what the command does with a shard, a verb.
        and_then: what becomes of the output.
    """
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help=f"{work} every N-th shard from the I-th on and {and_then}; 'rank': the share of this process "
        "under torchrun or srun",
    )


def chosen_share(arguments: argparse.Namespace) -> Share | None:
    """Return the share of the work that ``--shard`` names; None without it.

    Raises:
        UserError: it names none.
    """
    from cmlm_kd.system.shares import Share

    return None if arguments.shard is None else Share.parse(arguments.shard)


def add_engine(parser: argparse._ActionsContainer) -> None:
    """Declare ``--engine`` and what goes with it; :func:`chosen_engine` reads them."""
    parser.add_argument(
        "--engine",
        choices=["ray"],
        help="have the workers of a Ray cluster do the shards; what is written is the same",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="of Ray, at most; default: all there is room for"
    )
    parser.add_argument("--worker-cpus", type=float, metavar="C", help="of each worker, above 0 (default: 1)")
    parser.add_argument(
        "--worker-gpus",
        type=float,
        metavar="G",
        help="of each worker, 0 or more (default: 0); 0.5: two on a GPU",
    )
    parser.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="of the cluster; default: RAY_ADDRESS, or a new one of this machine",
    )


def chosen_engine(arguments: argparse.Namespace) -> RayEngine | None:
    """Return the cluster that ``--engine`` names; None without it.

    Raises:
        UserError: flags that mean nothing together, or Ray is not installed.
    """
    own = ("workers", "worker_cpus", "worker_gpus", "ray_address")
    given = {name: getattr(arguments, name) for name in own if getattr(arguments, name) is not None}
    if arguments.engine is None:
        if given:
            raise UserError(
                f"--{next(iter(given)).replace('_', '-')} goes with --engine ray; give both, or neither"
            )
        return None
    for name in ("shard", "merge", "device"):
        if getattr(arguments, name, None):
            raise UserError(
                f"--{name} and --engine ray are both given; the engine deals out the shards, to workers "
                "whose GPUs --worker-gpus says: leave one out"
            )
    from cmlm_kd.system.ray_engine import RayEngine

    names = {"worker_cpus": "cpus", "worker_gpus": "gpus", "ray_address": "address"}
    return RayEngine(**{names.get(name, name): value for name, value in given.items()})


def add_output(parser: argparse.ArgumentParser) -> None:
    """Declare ``--output``; :func:`print_or_write` reads it."""
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there instead of standard output")


def check_output(arguments: argparse.Namespace) -> None:
    """Refuse what ``--output``, ``--plot`` and ``--html``, where there are such, cannot be written to.

    It is called before the work.

    Raises:
        UserError: naming what is in the way, and why; a file that the command reads is; two are the same.
    """
    from cmlm_kd.system.files import check_file_place

    flags = ("output", "plot", "html")
    others = [value for name, value in vars(arguments).items() if name not in flags]
    written: dict[str, str] = {}
    for flag in flags:
        path = getattr(arguments, flag, None)
        check_file_place(path)
        check_not_read(f"--{flag}", path, itertools.chain.from_iterable(map(_each, others)))
        if path is not None and (former := written.setdefault(os.path.realpath(path), flag)) != flag:
            raise UserError(f"--{flag} and --{former} are both {path}; give each a file of its own")


def check_not_read(flag: str, path: Path | None, read: Iterable[object]) -> None:
    """Refuse to write over a file that is read.

    Args:
        flag: what names the file to write.
        path: the same; None is none.
        read: values of other flags, of which some are paths of files, as ``PATH`` or ``NAME=PATH``.

    Raises:
        UserError: naming the file.
    """
    if path is None or not path.is_file():
        return
    for value in map(str, read):
        for place in (value, value.partition("=")[2]):
            if place and "\0" not in place and os.path.isfile(place) and os.path.samefile(place, path):
                raise UserError(f"{flag} {path} is a file that is read; give another one, or it is lost")


def _each(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple) else (value,)


def print_or_write(text: str, arguments: argparse.Namespace) -> None:
    """Print a text that ends with a line feed, or write the file that ``--output`` names."""
    from cmlm_kd.system.files import written_aside

    if arguments.output is None:
        print(text, end="")
    else:
        with written_aside(arguments.output) as partial:
            partial.write_text(text, encoding="utf-8", errors="surrogateescape")  # in names of files


def add_clusters(parser: argparse.ArgumentParser) -> None:
    """Declare ``--clusters``; :func:`chosen_clusters` reads it."""
    parser.add_argument(
        "--clusters",
        type=Path,
        metavar="FILE",
        help="what each line is about, one label a line, such as test.clauses of 'cmlm-kd numbers-corpus': "
        "significance is tested over these and not over sentences, which would count the same thing again",
    )


def chosen_clusters(arguments: argparse.Namespace) -> list[str] | None:
    """Return the label of each line from the file that ``--clusters`` names; None without it."""
    from cmlm_kd.system.text import read_lines

    return None if arguments.clusters is None else read_lines(arguments.clusters)


def named_models(values: Sequence[str]) -> list[tuple[str, str]]:
    """Return name and path of each model of ``--model [NAME=]PATH``; default: the last part of the path.

    Raises:
        UserError: naming a name that comes twice, or is a path: files get these names.
    """
    from cmlm_kd.system.files import file_name

    named = []
    for value in values:
        name, equals, path = value.partition("=")
        if not equals:
            name, path = Path(value.split(":")[0]).resolve().name or "model", value
        named.append((file_name("--model", name), path))
    names = [name for name, _ in named]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two models are called {name!r}; name them: --model NAME=PATH NAME=PATH")
    return named
