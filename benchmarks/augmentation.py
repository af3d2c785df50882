"""How many training examples a second augmentation makes, on one core.

    python benchmarks/augmentation.py [--data FOLDER --corpus SST-2] [--sentences 2000] [--rounds 5]

rules     sentences, and pairs, a second of CPU time by masking, parts of speech and n-grams with the BiLSTM
          paper's probabilities, duplicates left out of the count
tagging   sentences a second by the part-of-speech tagger, counted apart: it reads every sentence once,
          however many are made of it

Without a corpus, sentences of the embedded corpus about numbers stand in. Medians of the rounds, with the
smallest and the largest.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from cmlm_kd.augmentation.parts_of_speech import load_tagger, tag_sentence
from cmlm_kd.augmentation.rules import Rules
from cmlm_kd.augmentation.sampling import PAIR_ITERATIONS, SENTENCE_ITERATIONS, Augmentation
from cmlm_kd.classification import ReadingOptions, read_examples
from cmlm_kd.numbers_corpus import CorpusSizes, build_corpus


def read_sentences(data: Path | None, corpus: str, count: int) -> list[str]:
    if data is not None:
        return read_examples(data, "train", ReadingOptions(corpus)).first[:count]
    sizes = CorpusSizes(pairs=1, valid=1, test=1, monolingual=count)
    return build_corpus(1, sizes).monolingual


def rates(action: Callable[[], int], rounds: int) -> str:
    """Return how many things a second of CPU time the action makes; it returns their number."""
    measured = []
    for _ in range(rounds):
        start = time.process_time()
        made = action()
        measured.append(made / (time.process_time() - start))
    return f"{statistics.median(measured):,.0f} a second ({min(measured):,.0f}-{max(measured):,.0f})"


def measure_rules(sentences: list[str], rounds: int) -> None:
    tagger = load_tagger("hanta-en")
    tagged = [tag_sentence(sentence, tagger) for sentence in sentences]
    words = sum(len(sentence.words) for sentence in tagged) / len(tagged)
    print(f"{len(tagged)} sentences of {words:.1f} words")
    singles = Augmentation(tagged, None, Rules(), SENTENCE_ITERATIONS, seed=1)
    pairs = Augmentation(tagged, tagged[1:] + tagged[:1], Rules(), PAIR_ITERATIONS, seed=1)
    print("rules    sentences", rates(lambda: sum(1 for _ in singles), rounds))
    print("rules    pairs    ", rates(lambda: sum(1 for _ in pairs), rounds))
    print("tagging  sentences", rates(lambda: len([tag_sentence(text, tagger) for text in sentences]), 1))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of a corpus")
    parser.add_argument("--corpus", default="SST-2", help="its name")
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    measure_rules(read_sentences(args.data, args.corpus, args.sentences), args.rounds)


if __name__ == "__main__":
    main()
