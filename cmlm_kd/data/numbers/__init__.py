"""The embedded corpus: German-English sentences about numbers, dates, times, durations and prices.

Made on the spot from Babel's CLDR data and num2words, so that the main job runs without downloading anything.
The parallel part is small on purpose; the monolingual English part is plentiful.
"""

from cmlm_kd.data.numbers.build import Corpus, CorpusSizes, build_corpus
from cmlm_kd.data.numbers.frames import Frame, frames_of_split
from cmlm_kd.data.numbers.writer import read_corpus_manifest, write_corpus

__all__ = [
    "Corpus",
    "CorpusSizes",
    "Frame",
    "build_corpus",
    "frames_of_split",
    "read_corpus_manifest",
    "write_corpus",
]
