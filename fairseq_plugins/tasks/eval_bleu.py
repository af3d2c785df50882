"""The settings of ``--eval-bleu``, which fairseq reads at the first validation or when the model is built."""

from __future__ import annotations

import dataclasses
import json
import math
from argparse import Namespace
from typing import Any

from fairseq.data import encoders
from fairseq.data.data_utils import post_process
from fairseq.dataclass.configs import GenerationConfig
from fairseq.tasks.translation import TranslationConfig

from cmlm_kd.api.registry import unknown_name
from cmlm_kd.errors import UserError, first_line

_FIELDS = {
    field.name: field for field in dataclasses.fields(GenerationConfig) if not field.name.startswith("_")
}
"""What ``--eval-bleu-args`` may name."""

_KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
}
_NEVER_NEGATIVE = ("max_len_a", "min_len", "no_repeat_ngram_size", "prefix_size")
_LEAST = {"beam": 1, "nbest": 1, "max_len_b": 1, **dict.fromkeys(_NEVER_NEGATIVE, 0)}


def check_eval_bleu(cfg: TranslationConfig) -> None:
    """Refuse settings of BLEU in validation with which the first one would end, or that mean nothing.

    Args:
        cfg: of a translation task.

    Raises:
        UserError: naming the flag, what it was given and what it may be.
    """
    if not cfg.eval_bleu:
        return
    for name, value in _object("--eval-bleu-args", cfg.eval_bleu_args, '{"beam": 4}').items():
        _check_generation(name, value)
    detok = _object("--eval-bleu-detok-args", cfg.eval_bleu_detok_args, "{}")
    known = sorted(encoders.TOKENIZER_REGISTRY)
    if cfg.eval_bleu_detok not in known:
        raise unknown_name("--eval-bleu-detok", cfg.eval_bleu_detok, known, known)
    try:
        encoders.build_tokenizer(Namespace(tokenizer=cfg.eval_bleu_detok, **detok))
    except ImportError as error:
        raise UserError(f"--eval-bleu-detok {cfg.eval_bleu_detok}: {first_line(error)}") from error
    try:
        post_process("", cfg.eval_bleu_remove_bpe)
    except NotImplementedError as error:  # so fairseq says that it knows no such symbol
        raise UserError(
            f"--eval-bleu-remove-bpe {cfg.eval_bleu_remove_bpe} is nothing that fairseq can join; it must be "
            "sentencepiece, wordpiece, letter, silence, _EOW, subword_nmt, @@ or none"
        ) from error


def _object(flag: str, text: str | None, example: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise UserError(f"{flag} {text!r} is no JSON ({error}); give it as '{example}'") from error
    if not isinstance(found, dict):
        raise UserError(f"{flag} {text!r} is no JSON object; give it as '{example}'")
    return found


def _check_generation(name: str, value: Any) -> None:
    flag = "--eval-bleu-args"
    if name not in _FIELDS:
        raise unknown_name(flag, name, list(_FIELDS), sorted(_FIELDS))
    types, kind = _KINDS.get(_FIELDS[name].type, ((), ""))
    fits = not types or (isinstance(value, types) and (bool in types or not isinstance(value, bool)))
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        raise UserError(f"{flag}: {name} is {json.dumps(value)}; it must be {kind}")
    if name in _LEAST and value < _LEAST[name]:
        raise UserError(f"{flag}: {name} is {value}; it must be {_LEAST[name]} or more")
    if name == "temperature" and value <= 0:
        raise UserError(f"{flag}: {name} is {value}; it must be above 0")
