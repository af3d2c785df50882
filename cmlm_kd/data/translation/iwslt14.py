"""The IWSLT14 German-English corpus (TED talks), split and cleaned as the literature does.

The data and the recipe are those behind the published numbers on this task: the training text of the
evaluation campaign with every 23rd pair set aside for validation, and five of its evaluation sets joined as
the test set (``examples/translation/prepare-iwslt14.sh`` in fairseq has the steps). Two things differ, as
a BERT's own tokenizer comes next: the text is not tokenised on disk, and what the cleaning counts as a token
is found by a regular expression close to the rules of the Moses tokenizer. XML entities of the evaluation
sets become characters.
"""

from __future__ import annotations

import html
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from cmlm_kd.errors import UserError
from cmlm_kd.system.files import written_aside, written_together

LANGUAGES = ("de", "en")
TRAINING_TEXT = "train.tags.de-en.{language}"
TEST_SETS = (
    "IWSLT14.TED.dev2010.de-en.{language}.xml",
    "IWSLT14.TEDX.dev2012.de-en.{language}.xml",
    "IWSLT14.TED.tst2010.de-en.{language}.xml",
    "IWSLT14.TED.tst2011.de-en.{language}.xml",
    "IWSLT14.TED.tst2012.de-en.{language}.xml",
)
MAX_TOKENS = 175
MAX_RATIO = 1.5
VALIDATION_EVERY = 23

Pair = tuple[str, str]

_METADATA = ("<url>", "<talkid>", "<keywords>")
_MARKUP = re.compile(r"</?(?:title|description)>")
_SEGMENT = re.compile(r'<seg id="[^"]*">\s*(.*?)\s*</seg>')
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|'?\w+(?:-\w+)*|\.{2,}|-{2,}|[^\w\s]")


def prepare_iwslt14(archive: Path, destination: Path, *, lowercase: bool = False) -> dict[str, int]:
    """Write ``{train,valid,test}.{de,en}`` into ``destination`` and return the pairs of each split.

    Args:
        archive: the campaign's ``de-en.tgz``.
        destination: directory to write; files of an earlier run are replaced.
        lowercase: lower-case both sides of all splits, as the published numbers do.

    Raises:
        UserError: the archive is missing, damaged or another one, or its two sides do not pair up.
    """
    names = [name.format(language=language) for name in (TRAINING_TEXT, *TEST_SETS) for language in LANGUAGES]
    lines = _read_archive(archive, names)
    training = _pairs(archive, lines, TRAINING_TEXT, training_sentences)
    train, valid = split_validation([pair for pair in training if is_clean(*pair)])
    test = [pair for name in TEST_SETS for pair in _pairs(archive, lines, name, evaluation_sentences)]
    splits = {"train": train, "valid": valid, "test": test}
    for split, pairs in splits.items():
        if not pairs:
            raise UserError(f"{archive}: nothing is left for {split}; is this the whole archive of IWSLT14?")
    with written_together():
        for split, pairs in splits.items():
            for side, language in enumerate(LANGUAGES):
                text = "".join(pair[side] + "\n" for pair in pairs)
                with written_aside(destination / f"{split}.{language}") as partial:
                    partial.write_text(text.lower() if lowercase else text, encoding="utf-8", newline="\n")
    return {split: len(pairs) for split, pairs in splits.items()}


def training_sentences(lines: Iterable[str]) -> list[str]:
    """Return the sentences of ``train.tags.*``, titles and descriptions included, other metadata left out."""
    return [_squeeze(_MARKUP.sub("", line)) for line in lines if not any(tag in line for tag in _METADATA)]


def evaluation_sentences(lines: Iterable[str]) -> list[str]:
    """Return the segments of an evaluation set's XML, with plain apostrophes like the training text's."""
    found = (_SEGMENT.search(line) for line in lines)
    return [_squeeze(html.unescape(match[1]).replace("’", "'")) for match in found if match is not None]


def is_clean(source: str, target: str) -> bool:
    """Tell whether both sides have 1 to 175 tokens and the longer at most 1.5 times those of the shorter."""
    shorter, longer = sorted(len(_TOKEN.findall(sentence)) for sentence in (source, target))
    return shorter >= 1 and longer <= min(MAX_TOKENS, MAX_RATIO * shorter)


def split_validation(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Return the training pairs and the validation pairs: every 23rd goes to validation."""
    train = [pair for number, pair in enumerate(pairs, 1) if number % VALIDATION_EVERY]
    return train, list(pairs[VALIDATION_EVERY - 1 :: VALIDATION_EVERY])


def _read_archive(archive: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the lines of the named files, wherever in the archive they are; nothing is unpacked."""
    if not archive.is_file():
        raise UserError(f"{archive} does not exist; give the path of IWSLT14's de-en.tgz")
    found: dict[str, list[str]] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                # A link could lead anywhere, and to nothing.
                file = tar.extractfile(member) if name in names and member.isfile() else None
                if file is not None:
                    found[name] = _lines(archive, name, file.read())
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise UserError(
            f"{archive} is not a readable tar archive ({error}); fetch de-en.tgz again"
        ) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(f"{archive} lacks {', '.join(missing)}; give the de-en.tgz of IWSLT14")
    return found


def _lines(archive: Path, name: str, data: bytes) -> list[str]:
    try:
        return data.decode("utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{archive}, {name}, line {line}: not UTF-8; fetch de-en.tgz again") from None


def _pairs(
    archive: Path, lines: dict[str, list[str]], name: str, sentences: Callable[[Iterable[str]], list[str]]
) -> list[Pair]:
    source, target = (sentences(lines[name.format(language=language)]) for language in LANGUAGES)
    if len(source) != len(target):
        raise UserError(
            f"{archive}: {name.format(language='*')} has {len(source)} German but {len(target)} English "
            "sentences; fetch de-en.tgz again"
        )
    return list(zip(source, target, strict=True))


def _squeeze(text: str) -> str:
    return " ".join(text.split())
