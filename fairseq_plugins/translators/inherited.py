"""``--init-from``: students that start from a translator's layers."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairseq.models import BaseFairseqModel

from cmlm_kd.api.next_tokens import TranslationData
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint, settings_of
from cmlm_kd.models.translators.start import HALVES, inherited_weights
from fairseq_plugins.command_line.configs import PluginConfig
from fairseq_plugins.training.starting_point import LAST
from fairseq_plugins.translators.teacher_forcing import check_same_data

logger = logging.getLogger(__name__)


@dataclass
class InheritedConfig(PluginConfig):
    """Flags of tasks whose students may start from a translator's layers."""

    init_from: str | None = field(
        default=None,
        metadata={
            "help": "checkpoint of a Transformer translator with the same dictionaries and widths, from "
            "whose embeddings and layers the student starts; a training that goes on from its own "
            "checkpoint does not read it"
        },
    )
    encoder_layers_map: str = field(
        default="uniform",
        metadata={
            "help": "with --init-from: uniform, last, a teacher layer for each student layer, from 1 "
            "(1,3,6), or pairs (1:1,3:6); a layer that is not named begins at random"
        },
    )
    decoder_layers_map: str = field(default="uniform", metadata={"help": "the same of the decoder"})


def start_from_layers(
    model: BaseFairseqModel, cfg: InheritedConfig, data: TranslationData, save_dir: str
) -> None:
    """Give a new student the weights that ``--init-from`` names.

    Args:
        model: just built; its weights are written over.
        cfg: of the task.
        data: what it is going to be trained on.
        save_dir: where its checkpoints go.

    Raises:
        UserError: maps without a teacher; a teacher of other languages or dictionaries, or of other sizes.
    """
    maps = {half: getattr(cfg, f"{half}_layers_map") for half in HALVES}
    if cfg.init_from is None:
        given = [f"--{half}-layers-map {text}" for half, text in maps.items() if text != "uniform"]
        if given:
            raise UserError(
                f"translation_kd: {' and '.join(given)}: of what translator? name it with --init-from"
            )
        return
    if (Path(save_dir) / LAST).is_file():
        return
    path = Path(cfg.init_from)
    state = read_checkpoint(path)
    check_same_data(path, state, data)
    heads = settings_of(state, "model"), heads_of(model)
    model.load_state_dict(
        inherited_weights(str(path), state["model"], model.state_dict(), maps, heads), strict=True
    )
    logger.info(
        "started from %s, encoder layers %s, decoder layers %s", path, maps["encoder"], maps["decoder"]
    )


def heads_of(model: BaseFairseqModel) -> dict[str, Any]:
    """Return how many attention heads each half of a Transformer has, by the names of fairseq's settings."""
    found = {}
    for half in HALVES:
        layers = list(getattr(getattr(model, half, None), "layers", ()))
        if layers and hasattr(layers[0], "self_attn"):
            found[f"{half}_attention_heads"] = layers[0].self_attn.num_heads
    return found
