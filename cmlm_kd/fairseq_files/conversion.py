"""What CTranslate2's converter of fairseq checkpoints cannot do, seen from a checkpoint's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cmlm_kd.errors import UserError

_OBSTACLES = {
    "cross_self_attention": "--cross-self-attention, which the converter does not see: it would "
    "translate wrongly",
    "no_cross_attention": "--no-cross-attention, without the attention that the converter copies",
    "adaptive_softmax_cutoff": "--adaptive-softmax-cutoff, which is no matrix that the converter could copy",
}


def check_convertible(settings: Mapping[str, Any], name: str) -> None:
    """Refuse a translation model that CTranslate2 4.8 converts wrongly, or ends at in an AttributeError.

    Args:
        settings: of the model, as its checkpoint has them.
        name: of the model, for the message.

    Raises:
        UserError: naming the flag that it was trained with.
    """
    found = [why for key, why in _OBSTACLES.items() if settings.get(key)]
    inner, outer = settings.get("decoder_embed_dim"), settings.get("decoder_output_dim")
    if outer is not None and inner is not None and int(outer) != int(inner):
        found.append(
            f"--decoder-output-dim {outer} beside --decoder-embed-dim {inner}, whose projection is not copied"
        )
    if found:
        raise UserError(
            f"{name} was trained with {found[0]}; decode it with fairseq-generate, or train a student for "
            "CTranslate2 without that flag"
        )
