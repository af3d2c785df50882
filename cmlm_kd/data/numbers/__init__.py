"""The embedded corpus: German-English sentences about numbers, dates, times, durations and prices.

Made on the spot from Babel's CLDR data and num2words, so that the main job runs without downloading anything.
The parallel part is small on purpose; the monolingual English part is plentiful.
"""

from cmlm_kd.data.numbers.build import (
    CorpusSizes,
    NumbersCorpus,
    build_corpus,
    read_corpus_manifest,
    write_numbers_corpus,
)
from cmlm_kd.data.numbers.frames import Frame, frames_of_split

__all__ = [
    "CorpusSizes",
    "Frame",
    "NumbersCorpus",
    "build_corpus",
    "frames_of_split",
    "read_corpus_manifest",
    "write_numbers_corpus",
]
