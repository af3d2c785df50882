"""Shards of one job, done by the workers of a Ray cluster; what is written is what one process would write.

Ray Data keeps the pool of workers: it starts them where there is room, each loads its model once, and what a
worker that died was doing is done again by another. Results come back to the process that asked, which alone
writes; so no output needs a common disk. What is read (models, data) does, under the same paths.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cmlm_kd.errors import UserError
from cmlm_kd.system.ranges import AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE, check_range


class ShardWork(Protocol):
    """What a worker does; it travels there by pickle."""

    def start(self) -> Callable[[int, bytes], bytes]:
        """Load the model; return what makes a shard's result of its number and its input."""


@dataclass(frozen=True)
class RayEngine:
    """Which cluster, and how much of it.

    Attributes:
        workers: at most, at least 1; None: as many as there is room for.
        cpus: of each worker, above 0; its threads are as many, rounded down.
        gpus: of each worker, 0 or more; 0.5 puts two on a GPU.
        address: of the cluster; None: that of ``RAY_ADDRESS``, or a new one on this machine.

    Raises:
        UserError: a number is out of its range, or Ray is not installed.
    """

    workers: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None:
            check_range("--workers", self.workers, AT_LEAST_ONE)
        check_range("--worker-cpus", self.cpus, POSITIVE)
        check_range("--worker-gpus", self.gpus, NOT_NEGATIVE)
        if importlib.util.find_spec("ray") is None:
            raise UserError("--engine ray needs Ray, which is not installed; pip install 'cmlm-kd[ray]'")

    @property
    def device(self) -> str:
        """Where a worker's model runs, as torch names it: Ray shows it no more than its own GPU."""
        return "cuda" if self.gpus else "cpu"

    @property
    def threads(self) -> int:
        """Of each worker."""
        return max(1, int(self.cpus))

    def results(self, work: ShardWork, shards: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        """Yield number and result of each shard, in the order in which they are done.

        Args:
            work: what a worker does.
            shards: number and input of each.

        Raises:
            UserError: what a worker raised; or there is no cluster at the address, or too little room in it.
        """
        import ray.data

        with self._connected():
            items = [{"index": index, "input": payload} for index, payload in shards]
            pool = ray.data.ActorPoolStrategy(
                min_size=1, max_size=min(self.workers or len(items), len(items))
            )
            done = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
                _Worker,
                fn_constructor_args=(work, os.getcwd(), self.threads),
                batch_size=1,
                compute=pool,
                num_cpus=self.cpus,
                num_gpus=self.gpus or None,
            )
            for row in done.iter_rows():
                if row["refused"]:
                    raise UserError(row["refused"])
                yield int(row["index"]), bytes(row["result"])

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what is an error comes as an exception, too
        import ray
        import ray.data

        quiet = [logging.getLogger(name) for name in ("ray", "ray.data")]
        levels = [logger.level for logger in quiet]
        was_connected = ray.is_initialized()
        try:
            if not was_connected:
                self._connect()
            for logger in quiet:
                logger.setLevel(logging.ERROR)
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            self._check_room()
            yield
        finally:
            for logger, level in zip(quiet, levels, strict=True):
                logger.setLevel(level)
            if not was_connected:
                ray.shutdown()

    def _connect(self) -> None:
        import ray

        address = self.address or os.environ.get("RAY_ADDRESS") or "local"
        dashboard = False if address == "local" else None
        try:
            ray.init(address, include_dashboard=dashboard, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError) as error:
            raise UserError(
                f"--ray-address {address}: no Ray cluster answers ({error}); start one with "
                "'ray start --head', or leave it out for a cluster of this machine"
            ) from error

    def _check_room(self) -> None:
        """Refuse workers that no node has room for: Ray would wait for such a node, for ever."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        wanted = {"CPU": self.cpus, "GPU": self.gpus}
        if not any(all(node.get(name, 0) >= least for name, least in wanted.items()) for node in nodes):
            has = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
            raise UserError(
                f"no node has room for a worker of --worker-cpus {self.cpus:g} --worker-gpus {self.gpus:g}: "
                f"there are {has}; give less"
            )


class _Worker:
    """One actor of Ray Data.

    What it refuses is part of its result: an exception comes back as text with a traceback of Ray's.
    """

    def __init__(self, work: ShardWork, folder: str, threads: int) -> None:
        import torch

        os.chdir(folder)  # relative paths mean what they meant to the user
        torch.set_num_threads(threads)
        self._do: Callable[[int, bytes], bytes] | None = None
        self._refused = ""
        try:
            self._do = work.start()
        except UserError as error:
            self._refused = str(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        results, refused = [], []
        for index, payload in zip(batch["index"], batch["input"], strict=True):
            result, reason = self._one(int(index), payload)
            results.append(result)
            refused.append(reason)
        return {"index": batch["index"], "result": results, "refused": refused}

    def _one(self, index: int, payload: bytes) -> tuple[bytes, str]:
        if self._do is None:
            return b"", self._refused
        try:
            return self._do(index, payload), ""
        except UserError as error:
            return b"", str(error)
