"""fairseq's models in the format of CTranslate2, whichever of fairseq's commands wrote the checkpoint."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from pathlib import Path

import torch

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint, settings_of
from cmlm_kd.fairseq_files.conversion import check_convertible
from cmlm_kd.fairseq_files.portable import STOCK_TASK
from cmlm_kd.models.translators.ctranslate2 import explained_conversion, import_ctranslate2
from fairseq_plugins.translators.loading import Ensemble, without_reports


def convert_checkpoint(
    paths: tuple[str, ...], ensemble: Ensemble, directory: Path, quantization: str
) -> None:
    """Write a checkpoint as a directory of CTranslate2.

    The converter expects settings as ``fairseq-train`` writes them. Those of portable checkpoints and of
    ``fairseq-hydra-train`` are dictionaries, so that it is given a copy that has them as it wants.

    Args:
        paths: of the checkpoint.
        ensemble: the same, loaded.
        directory: to write.
        quantization: of the weights.

    Raises:
        UserError: several checkpoints, or a model that CTranslate2 does not know or would convert wrongly.
    """
    if len(paths) > 1:
        raise UserError(
            f"--via ctranslate2 has no ensembles, --model names {len(paths)} checkpoints; leave it out, or "
            "average them with 'cmlm-kd average'"
        )
    converters = import_ctranslate2().converters
    source, target = ensemble.languages
    state = read_checkpoint(Path(paths[0]))
    settings = {**vars(state.get("args") or Namespace()), **settings_of(state, "model")}
    if "encoder.layers.0.fc1.weight" not in state["model"]:
        raise UserError(
            f"{paths[0]} is a {ensemble.architecture}, and CTranslate2 has Transformers alone; export it to "
            "onnx, or decode it with fairseq-generate"
        )
    check_convertible(settings, paths[0])
    settings.update(task=STOCK_TASK, arch=ensemble.architecture)
    settings.update(source_lang=source, target_lang=target, soft_targets=None)
    with tempfile.TemporaryDirectory(prefix="cmlm-kd-checkpoint-") as folder:
        copy = Path(folder, "checkpoint.pt")
        with copy.open("wb") as file:  # of a full disk Python's files say more than torch's
            torch.save({"args": Namespace(**settings), "model": state["model"]}, file)
        converter = converters.FairseqConverter(str(copy), str(ensemble.data), source, target)
        with without_reports():
            explained_conversion(
                lambda: converter.convert(str(directory), quantization=quantization), paths[0]
            )
