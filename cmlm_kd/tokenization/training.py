"""The training of a teacher's own tokenizer: a sentencepiece unigram model that Hugging Face loads."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmlm_kd.errors import UserError
from cmlm_kd.system.files import check_new_directory, directory_written_aside
from cmlm_kd.system.ranges import Range, between, check_range
from cmlm_kd.system.text import read_lines
from cmlm_kd.tokenization.saving import write_tokenizer
from cmlm_kd.tokenization.sentencepiece import sentencepiece_backend

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, CLS, SEP, MASK = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""The first pieces, in this order."""

LONGEST_LINE = 1 << 13
"""Characters; longer lines are cut at spaces, because sentencepiece drops long ones in silence."""

LONGEST_WORD = 1 << 10
"""Characters between spaces; longer words are cut. The training takes a time that grows with their square."""

COVERAGE = Range("in [0.98, 1]", lambda value: 0.98 <= value <= 1.0)
"""Sentencepiece's own limits (trainer_interface.cc)."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenizerOptions:
    """What a tokenizer should be like.

    Attributes:
        vocab_size: pieces, the five special ones included.
        character_coverage: share of the text's characters that get a piece, in [0.98, 1]; the rest, the
            rarest, become ``[UNK]``. 0.9995 suits languages with thousands of characters.
        split_digits: whether every digit is a piece of its own, so that numbers are copied digit by digit.
    """

    vocab_size: int
    character_coverage: float = 1.0
    split_digits: bool = False


def read_training_text(paths: Sequence[Path]) -> list[str]:
    """Return the lines of all files that hold more than space.

    Raises:
        UserError: if a file is missing or not UTF-8, or there is no text at all.
    """
    lines = [line for path in paths for line in read_lines(path) if line.strip()]
    if not lines:
        raise UserError(
            f"no text in {', '.join(map(str, paths))}; a tokenizer is trained on at least one sentence"
        )
    return lines


def short_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines cut to about :data:`LONGEST_LINE` characters, in words of at most :data:`LONGEST_WORD`.

    A piece never has a space inside, so that next to nothing is lost at a cut.
    """
    for line in lines:
        if len(line) <= LONGEST_WORD:
            yield line
            continue
        part, length = [], 0
        for word in line.split():
            for start in range(0, len(word), LONGEST_WORD):
                part.append(word[start : start + LONGEST_WORD])
                length += len(part[-1]) + 1
                if length > LONGEST_LINE:
                    yield " ".join(part)
                    part, length = [], 0
        if part:
            yield " ".join(part)


def train_tokenizer(lines: Sequence[str], options: TokenizerOptions) -> PreTrainedTokenizerFast:
    """Train a unigram tokenizer (Kudo, 2018) in the "▁ starts a word" convention; case is kept, text is NFKC.

    The same lines and options give the same tokenizer, byte for byte: one thread trains on all lines.

    Raises:
        UserError: if the text does not allow so many pieces, or needs more.
    """
    from transformers import PreTrainedTokenizerFast

    _check(options)
    cut = sum(len(word) > LONGEST_WORD for line in lines if len(line) > LONGEST_WORD for word in line.split())
    if cut:
        logger.warning("%d words of more than %d characters are cut; is that text?", cut, LONGEST_WORD)
    backend = _hugging_face_backend(_train_sentencepiece(lines, options))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        pad_token=PAD,
        unk_token=UNKNOWN,
        cls_token=CLS,
        sep_token=SEP,
        mask_token=MASK,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write a directory that ``AutoTokenizer.from_pretrained`` loads; it appears only when complete.

    Raises:
        UserError: if the directory holds something already.
    """
    check_new_directory(directory)
    with directory_written_aside(directory) as partial:
        write_tokenizer(tokenizer, partial)


def _check(options: TokenizerOptions) -> None:
    if options.vocab_size <= len(SPECIAL_TOKENS):
        raise UserError(
            f"--vocab-size is {options.vocab_size}, but {len(SPECIAL_TOKENS)} pieces are special; give more"
        )
    check_range("--vocab-size", options.vocab_size, between(1, 1_000_000), joint=", ")
    check_range("--character-coverage", options.character_coverage, COVERAGE, joint=", ")


def _train_sentencepiece(lines: Sequence[str], options: TokenizerOptions) -> bytes:
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=short_lines(lines),
            model_writer=model,
            model_type="unigram",
            vocab_size=options.vocab_size,
            character_coverage=options.character_coverage,
            split_digits=options.split_digits,
            normalization_rule_name="nfkc",
            max_sentence_length=4 * (LONGEST_LINE + LONGEST_WORD),  # bytes
            shuffle_input_sentence=False,
            num_threads=1,  # the sums of several threads differ in their last bits
            minloglevel=2,
            **_special_pieces(),
        )
    except RuntimeError as error:
        # "Internal: <file>(<line>) [<condition>] <explanation>"
        explanation = str(error).splitlines()[0].split("] ", 1)[-1]
        raise UserError(
            f"cannot make {options.vocab_size} pieces from {len(lines):,} lines: "
            f"{explanation.rstrip('.') or error}; choose another --vocab-size or give more text"
        ) from None
    return model.getvalue()


def _special_pieces() -> dict[str, Any]:
    names = dict(pad=PAD, unk=UNKNOWN, bos=CLS, eos=SEP)
    ids = {f"{name}_id": SPECIAL_TOKENS.index(token) for name, token in names.items()}
    return {**ids, **{f"{name}_piece": token for name, token in names.items()}, "control_symbols": [MASK]}


def _hugging_face_backend(model: bytes) -> Any:
    """Rebuild a sentencepiece model as a ``tokenizers.Tokenizer`` that segments alike, framed like BERT."""
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import processors

    proto = sentencepiece_model_pb2.ModelProto.FromString(model)  # type: ignore[attr-defined]
    tokenizer = sentencepiece_backend(proto)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
        special_tokens=[(token, SPECIAL_TOKENS.index(token)) for token in (CLS, SEP)],
    )
    return tokenizer
