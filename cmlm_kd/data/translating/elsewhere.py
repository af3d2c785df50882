"""Shards of a text, translated by the workers of a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from cmlm_kd.api.translator import Decoding, Hypothesis, Translator
from cmlm_kd.data.translating.engine import seed_of, translate_texts
from cmlm_kd.system.ray_engine import RayEngine


@dataclass(frozen=True)
class Elsewhere:
    """Who translates.

    Attributes:
        engine: the cluster.
        load: what makes the translator in a worker; it travels there by pickle.
    """

    engine: RayEngine
    load: Callable[[], Translator]

    def translated(
        self, shards: Mapping[int, list[str]], decoding: Decoding, max_tokens: int
    ) -> Iterator[tuple[int, list[str], list[list[Hypothesis]]]]:
        """Yield number, lines and hypotheses of each shard, in the order in which they are done.

        Raises:
            UserError: as :meth:`cmlm_kd.system.ray_engine.RayEngine.results`.
        """
        work = TranslationWork(self.load, decoding, max_tokens)
        inputs = [(index, json.dumps(texts).encode()) for index, texts in shards.items()]
        for index, result in self.engine.results(work, inputs):
            rows = [[Hypothesis(*entry) for entry in row] for row in json.loads(result)]
            yield index, shards[index], rows


@dataclass(frozen=True)
class TranslationWork:
    """What a worker does; see :class:`cmlm_kd.system.ray_engine.ShardWork`."""

    load: Callable[[], Translator]
    decoding: Decoding
    max_tokens: int

    def start(self) -> Callable[[int, bytes], bytes]:
        """Load the translator."""
        translator = self.load()

        def shard(index: int, payload: bytes) -> bytes:
            decoding = replace(self.decoding, seed=seed_of(self.decoding.seed, index))
            found = translate_texts(translator, json.loads(payload), decoding, max_tokens=self.max_tokens)
            return json.dumps(found).encode()

        return shard
