"""A translator without a model: capital letters. Its argument makes it misbehave."""

import os
import random
import signal

from cmlm_kd.api.translator import Hypothesis, Source, Translator, translators
from cmlm_kd.cli import main


@translators.register("toy")
class Toy(Translator):
    """Says the source in capitals, then with its words rotated; draws the rotation when it samples."""

    def __init__(self, way):
        self.way = way
        self.batches = []

    @classmethod
    def load(cls, choice):
        return cls(choice.path)

    description, languages, most_source_tokens = "toy", ("de", "en"), 9

    @property
    def hash(self):
        return "a" * 64

    def encode(self, texts):
        return [Source(text, text.split()) for text in texts]

    def translate(self, sources, decoding):
        self.batches.append([source.text for source in sources])
        if self.way.startswith("kill") and len(self.batches) > int(self.way[4:]):
            os.kill(os.getpid(), signal.SIGKILL)
        generator = random.Random(decoding.seed)
        return [self._of(source, decoding, generator) for source in sources]

    def _of(self, source, decoding, generator):
        count = decoding.n_best - (self.way == "short")
        if self.way == "empty":
            return [Hypothesis("", -1.0)] * count
        found = []
        for rank in range(count):
            turn = generator.randrange(len(source.tokens)) if decoding.sampling else rank
            words = [*source.tokens[turn:], *source.tokens[:turn]]
            score = float("nan") if self.way == "nan" else -0.5 * (rank + 1)
            endless = self.way == "endless" or (self.way == "rest" and words == ["endlos"])
            found.append(Hypothesis(" ".join(words).upper(), score, not endless))
        return found


def run(*flags, way="well"):
    """Run the command in this process; returns its status."""
    return main(["translate", "--model", f"toy={way}", *map(str, flags)])


def run_child(*flags, way):
    """Run the command in a process of its own that may kill itself; returns the signal that ended it."""
    child = os.fork()
    if not child:
        os._exit(run(*flags, way=way))
    return os.waitpid(child, 0)[1]


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def lines_of(path):
    return path.read_text(encoding="utf-8").split("\n")[:-1]
