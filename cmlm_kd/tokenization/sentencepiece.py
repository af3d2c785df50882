"""Teachers whose directory has a sentencepiece model and no other tokenizer file.

transformers knows which ids and special tokens a family of models gives to the pieces, but takes every model
for a unigram one and leaves the model's text normalisation out for some families. This module puts both
right, so that text is cut as sentencepiece cuts it, and takes the model's own ids where transformers knows no
family.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import combining, normalize

from cmlm_kd.errors import UserError
from cmlm_kd.system.git_lfs import refuse_pointer
from cmlm_kd.system.hugging_face import load_saved
from cmlm_kd.tokenization.fidelity import check_cuts_alike, refuse_lost_settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_OTHER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json")
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4  # types of pieces
_BPE = 2  # type of model
_USUAL_NAMES = {
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
}


def only_sentencepiece_model(directory: Path) -> Path | None:
    """Return the sentencepiece model of a directory that has no other tokenizer file, or None.

    Raises:
        UserError: if there are several models.
    """
    if any((directory / name).is_file() for name in _OTHER_FILES):
        return None
    models = sorted(directory.glob("*.model"))
    if len(models) > 1:
        raise UserError(
            f"{directory} has several sentencepiece models ({', '.join(path.name for path in models)}); "
            "leave only the teacher's tokenizer there"
        )
    return models[0] if models else None


def load_sentencepiece(path: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of the directory that holds the sentencepiece model ``path``.

    Raises:
        UserError: if the file is no sentencepiece model, or one that is not cut with as sentencepiece does.
    """
    model = _read(path)
    refuse_lost_settings(path, model)
    tokenizer = _made_of(model, path.parent)
    check_cuts_alike(path, model, tokenizer)
    return tokenizer


def _made_of(model: Any, directory: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        tokenizer = load_saved(AutoTokenizer, directory)
        losses = _losses(tokenizer, model, directory)
        if losses:
            tokenizer = load_saved(AutoTokenizer, directory, **losses)
    except UserError:
        raise
    except Exception:  # of many types: no family whose tokenizer is a sentencepiece model
        return _of_unknown_family(model, directory)
    if not {piece.piece for piece in model.pieces if piece.type == _NORMAL} <= tokenizer.get_vocab().keys():
        return _of_unknown_family(model, directory)
    return _mend(tokenizer, model)


def _losses(tokenizer: Any, model: Any, directory: Path) -> dict[str, bool]:
    """Return the settings without which a family takes capitals or accents away that the vocabulary has; none
    where a file says what the tokenizer does."""
    normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    if (directory / "tokenizer_config.json").is_file() or normalizer is None:
        return {}
    text = "".join(piece.piece for piece in model.pieces if piece.type == _NORMAL)
    settings = {}
    if normalizer.normalize_str("A") == "a" and text != text.lower():
        settings["do_lower_case"] = False
    if normalizer.normalize_str("\u00e9") == "e" and any(map(combining, normalize("NFKD", text))):
        settings["keep_accents"] = True
    return settings


def sentencepiece_backend(model: Any) -> Any:
    """Return a ``tokenizers.Tokenizer`` that cuts text as a sentencepiece ``ModelProto`` does, same ids."""
    from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers

    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    backend = Tokenizer(_model(model, pieces, model.trainer_spec.unk_id))
    backend.normalizer = _normalizer(model)
    parts = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("\u2581", prepend_scheme="always")]
    if _user_defined(model):
        parts.append(pre_tokenizers.Split(Regex(_standing_alone(model)), "isolated"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(parts)
    backend.decoder = decoders.Metaspace("\u2581", prepend_scheme="always")
    return backend


def _read(path: Path) -> Any:
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    try:
        model = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())  # type: ignore[attr-defined]
    except DecodeError:
        model = None
    if model is None or not model.pieces:
        refuse_pointer(path)
        raise UserError(f"{path} is not a sentencepiece model; copy the teacher's tokenizer files again")
    return model


def _model(model: Any, pieces: list[tuple[str, float]], unknown: int) -> Any:
    from tokenizers import models

    byte_fallback = bool(model.trainer_spec.byte_fallback)
    if model.trainer_spec.model_type != _BPE:
        return models.Unigram(pieces, unk_id=unknown, byte_fallback=byte_fallback)
    vocabulary = {piece: i for i, (piece, _) in enumerate(pieces)}
    merges = sorted(_merges(model), key=lambda merge: merge[0])
    return models.BPE(
        vocabulary,
        [(left, right) for _, left, right in merges],
        unk_token=pieces[unknown][0],
        fuse_unk=True,
        byte_fallback=byte_fallback,
        ignore_merges=bool(_user_defined(model)),  # no merge makes them
    )


def _standing_alone(model: Any) -> str:
    """Return a pattern of the user-defined symbols; the mark of a word's beginning stays before them."""
    return "|".join(re.escape(symbol) for symbol in sorted(_user_defined(model), key=len, reverse=True))


def _user_defined(model: Any) -> list[str]:
    """Return the user-defined symbols of a model that are not the names of special tokens."""
    special = {name for names in _USUAL_NAMES.values() for name in names}
    found = [piece.piece for piece in model.pieces if piece.type == _USER_DEFINED]
    return [piece for piece in found if piece.strip() and piece not in special]


def _merges(model: Any) -> Iterator[tuple[float, str, str]]:
    """Yield (rank, left, right) of every way to make a piece of two; the best score is merged first."""
    normal = {piece.piece: piece.score for piece in model.pieces if piece.type == _NORMAL}
    for piece, score in normal.items():
        for cut in range(1, len(piece)):
            if piece[:cut] in normal and piece[cut:] in normal:
                yield -score, piece[:cut], piece[cut:]


def _normalizer(model: Any) -> Any:
    from tokenizers import normalizers

    table = model.normalizer_spec.precompiled_charsmap
    return normalizers.Precompiled(table) if table else None


def _mend(tokenizer: Any, model: Any) -> PreTrainedTokenizerBase:
    """Return a tokenizer with the ids of the given one, which segments as the model does."""
    from tokenizers import Tokenizer, normalizers
    from transformers import PreTrainedTokenizerFast

    description = json.loads(tokenizer.backend_tokenizer.to_str())
    normalizer = _normalizer(model)
    has_table = normalizer is None or '"Precompiled"' in json.dumps(description["normalizer"])
    falls_back = bool(model.trainer_spec.byte_fallback)
    symbols = _user_defined(model)
    if has_table and model.trainer_spec.model_type != _BPE and not falls_back and not symbols:
        return tokenizer  # type: ignore[no-any-return]
    if symbols:  # added tokens would swallow the space before them
        kept = [token for token in description["added_tokens"] if token["content"] not in symbols]
        alone = {"Regex": _standing_alone(model)}
        split = {"type": "Split", "pattern": alone, "behavior": "Isolated", "invert": False}
        parts = [description["pre_tokenizer"], split]
        description["added_tokens"] = kept
        description["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": parts}
    if model.trainer_spec.model_type != _BPE:
        description["model"]["byte_fallback"] = falls_back
    backend = Tokenizer.from_str(json.dumps(description))
    if not has_table:
        others = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = normalizers.Sequence([normalizer, *others])
    if model.trainer_spec.model_type == _BPE:
        vocabulary = sorted(backend.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1])
        backend.model = _model(model, [(piece, 0.0) for piece, _ in vocabulary], tokenizer.unk_token_id)
    names = {f"{name}_token": getattr(tokenizer, f"{name}_token") for name in _USUAL_NAMES}
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, model_input_names=tokenizer.model_input_names, **names
    )


def _of_unknown_family(model: Any, directory: Path) -> PreTrainedTokenizerBase:
    """Return a tokenizer with the model's own ids, special tokens as configured or by their usual names."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    backend = sentencepiece_backend(model)
    names = {
        name: token
        for name in _USUAL_NAMES
        if (token := _special_token(name, backend, directory)) is not None
    }
    control = [piece.piece for piece in model.pieces if piece.type == _CONTROL]
    backend.add_special_tokens(list(dict.fromkeys([*names.values(), *control])))
    if "cls" in names and "sep" in names:
        cls, sep = names["cls"], names["sep"]
        backend.post_processor = processors.TemplateProcessing(
            single=f"{cls} $A {sep}",
            pair=f"{cls} $A {sep} $B:1 {sep}:1",
            special_tokens=[(token, backend.token_to_id(token)) for token in (cls, sep)],
        )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in names.items()},
    )


def _special_token(name: str, backend: Any, directory: Path) -> str | None:
    """Return the name of a special token that the vocabulary has, None if it has none."""
    path = directory / "tokenizer_config.json"
    configured = json.loads(path.read_text(encoding="utf-8")).get(f"{name}_token") if path.is_file() else None
    if isinstance(configured, dict):
        configured = configured.get("content")
    candidates = [configured] if configured else list(_USUAL_NAMES[name])
    return next((token for token in candidates if backend.token_to_id(token) is not None), None)
