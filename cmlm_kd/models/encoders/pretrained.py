"""Pre-trained Hugging Face encoders, taken apart into what a teacher needs of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.models.encoders.heads import has_head, split_masked_lm
from cmlm_kd.system.transformers_reports import without_reports

_VOLATILE = ("_name_or_path", "architectures", "dtype", "transformers_version")


def model_hash(config: Any, model: nn.Module) -> str:
    """Return a hash of a Hugging Face configuration and of all weights of a model, by name."""
    known = {name: value for name, value in config.to_dict().items() if name not in _VOLATILE}
    digest = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def load_encoder(name_or_path: str) -> tuple[nn.Module, nn.Module | None]:
    """Load an encoder without pooler and the transform of its masked-LM head, weights in float32.

    Args:
        name_or_path: Hugging Face directory or hub name.

    Returns:
        encoder and transform; None instead of the transform where the checkpoint has no masked-LM head.

    Raises:
        UserError: if nothing can be loaded, it is no encoder, weights of the encoder are missing, or its
            masked-LM head is of an unknown form.
    """
    with without_reports():
        model, report = load_masked_lm(name_or_path)
    missing = set(report["missing_keys"]) | {key for key, *_ in report["mismatched_keys"]}
    lost = sorted(
        key for key in missing if key.startswith(model.base_model_prefix + ".") and "pooler" not in key
    )
    if lost:
        raise UserError(
            f"{name_or_path!r} has no weights for {len(lost)} tensors of its encoder, such as {lost[0]}: its "
            "config.json and its weights do not belong together; save the model again with save_pretrained"
        )
    return split_masked_lm(model, has_head=has_head(model, missing))


def load_masked_lm(name_or_path: str) -> tuple[Any, dict[str, Any]]:
    """Load a Hugging Face masked language model, weights in float32, and what was missing of it.

    Args:
        name_or_path: Hugging Face directory or hub name.

    Returns:
        the model, and transformers' loading report (``missing_keys``, ``mismatched_keys``, ...).

    Raises:
        UserError: if nothing can be loaded, or it is no bidirectional encoder.
    """
    from transformers import AutoConfig, AutoModelForMaskedLM

    import cmlm_kd.models.encoders.ib_bert  # noqa: F401 - the Auto classes learn about it

    try:
        check_encoder_type(AutoConfig.from_pretrained(name_or_path), repr(name_or_path))
        return AutoModelForMaskedLM.from_pretrained(  # type: ignore[no-any-return]
            name_or_path, dtype=torch.float32, output_loading_info=True
        )
    except UserError:
        raise
    except Exception as error:  # damaged files raise many types
        raise UserError(
            f"cannot load a masked language model from {name_or_path!r}: {first_line(error)}; "
            "give a directory written by save_pretrained, or a hub name that can be reached"
        ) from error


def check_encoder_type(config: Any, name: str) -> None:
    """Refuse what is not a bidirectional encoder with a masked-LM form.

    Raises:
        UserError: naming the model and its type.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    if type(config) not in MODEL_FOR_MASKED_LM_MAPPING or config.is_encoder_decoder:
        raise UserError(
            f"teacher {name} is a {config.model_type} model, not a bidirectional encoder; "
            "take a BERT, RoBERTa, XLM-R, DistilBERT, ELECTRA or another masked language model"
        )
