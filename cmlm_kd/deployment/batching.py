"""Dynamic batching: what waits at the same time is worked on together."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from typing import Generic, TypeVar

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class TooBusy(Exception):
    """More is waiting than is allowed."""


class Batcher(Generic[Job, Answer]):
    """A queue, and one worker that takes batches from it.

    Nothing waits for a batch to fill: the worker takes what is there, so that a lone request is answered at
    once, and batches grow while it is at work. Of a batch that fails each half is worked on by itself, so
    that a job that fails, fails alone: its exception is raised where the job was asked.

    Args:
        work: from jobs to their answers. It runs in a thread.
        size: of a job.
        kind: jobs of one kind share a batch.
        batch: largest sum of sizes in a batch; a larger job is a batch of its own.
        waiting: largest sum of sizes that may wait.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Job]], Sequence[Answer]],
        size: Callable[[Job], int],
        kind: Callable[[Job], Hashable],
        batch: int,
        waiting: int,
    ) -> None:
        self._work, self._size, self._kind = work, size, kind
        self._batch, self._most = batch, waiting
        self._queue: deque[tuple[Job, asyncio.Future[Answer]]] = deque()
        self._something = asyncio.Event()
        self.waiting = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work until the block ends; what waits then is still answered."""
        worker = asyncio.create_task(self._forever())
        try:
            yield
        finally:
            while self._queue and not worker.done():
                await asyncio.sleep(0.01)
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker

    async def ask(self, job: Job) -> Answer:
        """Wait for the answer to a job; a caller that gives up takes its job out of the queue.

        Raises:
            TooBusy: too much is waiting.
        """
        size = self._size(job)
        if self.waiting + size > self._most and self._queue:
            raise TooBusy(f"{self.waiting} texts are waiting, {self._most} may; ask again later")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append((job, answer))
        self.waiting += size
        self._something.set()
        return await answer

    async def _forever(self) -> None:
        while True:
            await self._something.wait()
            taken = self._taken()
            if not taken:
                self._something.clear()
                continue
            jobs = [job for job, _ in taken]
            answers = await asyncio.to_thread(self._answers, jobs)
            for (_, future), answer in zip(taken, answers, strict=True):
                if future.done():  # given up
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _answers(self, jobs: Sequence[Job]) -> Sequence[Answer | Exception]:
        """Return the answer to each job, or why there is none."""
        try:
            return self._work(jobs)
        except Exception as error:  # said to whoever asked; the service goes on
            if len(jobs) == 1:
                return [error]
        half = len(jobs) // 2
        return [*self._answers(jobs[:half]), *self._answers(jobs[half:])]

    def _taken(self) -> list[tuple[Job, asyncio.Future[Answer]]]:
        """Take a batch: the oldest job, and those of its kind behind it that fit."""
        taken: list[tuple[Job, asyncio.Future[Answer]]] = []
        left: deque[tuple[Job, asyncio.Future[Answer]]] = deque()
        total = 0
        while self._queue:
            job, future = self._queue.popleft()
            size = self._size(job)
            if future.done():
                self.waiting -= size
            elif taken and (self._kind(job) != self._kind(taken[0][0]) or total + size > self._batch):
                left.append((job, future))
            else:
                taken.append((job, future))
                total += size
                self.waiting -= size
        self._queue = left
        return taken
