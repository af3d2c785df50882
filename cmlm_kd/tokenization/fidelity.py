"""Whether a tokenizer that was made from a sentencepiece model cuts as sentencepiece itself does.

A sentencepiece model has settings that fast tokenizers, or the ones that transformers makes for a family, do
not know. Those that are known to be lost are refused by name; whatever else is lost is seen from how both cut
the model's own words.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmlm_kd.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NORMAL, _USER_DEFINED = 1, 4  # types of pieces
_WORD = 3  # type of model: whatever is no piece from space to space is unknown
_SPACE = "\u2581"
_SPECIAL = ("cls", "sep", "mask", "pad", "unk", "bos", "eos")
_WORDS = 200
_AT_ONCE = 5
_TOLERATED = 0.05
"""Share of the lines that may differ: equally good ways to cut a word are ordered by either as it likes."""

_FOREIGN = "\u4dc0\ua04f"
"""Characters that hardly any vocabulary has."""


def refuse_lost_settings(path: Path, model: Any) -> None:
    """Refuse a sentencepiece ``ModelProto`` with settings that a fast tokenizer does not have.

    Raises:
        UserError: naming the setting.
    """
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    inner = any(_SPACE in piece.piece.strip(_SPACE) for piece in model.pieces if piece.type == _NORMAL)
    lost = {
        "model_type=word": trainer.model_type == _WORD,
        "treat_whitespace_as_suffix": trainer.treat_whitespace_as_suffix,
        "split_by_whitespace=false, with pieces of several words": not trainer.split_by_whitespace and inner,
        "add_dummy_prefix=false": not normalizer.add_dummy_prefix,
        "escape_whitespaces=false": not normalizer.escape_whitespaces,
        "remove_extra_whitespaces=false": not normalizer.remove_extra_whitespaces,
    }
    for setting, is_set in lost.items():
        if is_set:
            raise _refused(
                path, f"was trained with {setting}, which transformers' fast tokenizers do not know"
            )


def check_cuts_alike(path: Path, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that cuts lines of the model's own words otherwise than sentencepiece.

    Args:
        path: of the model.
        model: its ``ModelProto``.
        tokenizer: what was made of it.

    Raises:
        UserError: with one of the lines, as both cut it.
    """
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    special = {getattr(tokenizer, f"{name}_token") for name in _SPECIAL}
    words = [
        piece.piece.strip(_SPACE)
        for piece in model.pieces
        if piece.type == _NORMAL and piece.piece.startswith(_SPACE) and len(piece.piece) > 1
    ]
    words = [word for word in words if word not in special][:_WORDS]
    lines = [" ".join(words[first : first + _AT_ONCE]) for first in range(0, len(words), _AT_ONCE)]
    different = [line for line in lines if _differs(line, processor, tokenizer)]
    named = [line for line in _named_lines(model, words, special) if _differs(line, processor, tokenizer)]
    if named or len(different) > _TOLERATED * len(lines):
        line = (named + different)[0]
        right, found = _both(line, processor, tokenizer)
        raise _refused(
            path,
            f"cuts {line!r} into {' '.join(right)}, what transformers makes of it into {' '.join(found)}",
        )


def _named_lines(model: Any, words: list[str], special: set[Any]) -> Iterator[str]:
    """Yield lines about which there is no choice: with user-defined symbols, and with foreign characters."""
    first, last = (words or ["a"])[0], (words or ["a"])[-1]
    for piece in model.pieces:
        if piece.type == _USER_DEFINED and piece.piece.strip() and piece.piece not in special:
            yield f"{first} {piece.piece} {last}"
            yield f"{first}{piece.piece}{last}"
    if model.trainer_spec.byte_fallback:
        yield f"{first} {_FOREIGN}{last}"


def _differs(line: str, processor: Any, tokenizer: PreTrainedTokenizerBase) -> bool:
    right, found = _both(line, processor, tokenizer)
    return right != found


def _both(line: str, processor: Any, tokenizer: Any) -> tuple[list[str], list[str]]:
    """Return the pieces of a line, sentencepiece's and the tokenizer's."""
    unknown = processor.unk_id()
    right = [
        tokenizer.unk_token if number == unknown else processor.id_to_piece(number)
        for number in processor.encode(line)
    ]
    return right, tokenizer.convert_ids_to_tokens(tokenizer(line, add_special_tokens=False)["input_ids"])


def _refused(path: Path, what: str) -> UserError:
    return UserError(
        f"{path} {what}: text would be cut otherwise than for the teacher; give a directory with a "
        "tokenizer.json that cuts alike"
    )
