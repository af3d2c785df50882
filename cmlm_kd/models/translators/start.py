"""Translators that begin as chosen layers of another one, as DistilBERT begins as every second layer of BERT.

Weights go by their names in fairseq's checkpoints. Layers count from 1 and maps are written as those of
criteria are (:mod:`cmlm_kd.criteria.layers`): a student layer that no map names begins at random.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cmlm_kd.criteria.layers import LayerMap, layer_map
from cmlm_kd.errors import UserError

HALVES = ("encoder", "decoder")
_LAYER = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(.+)")
_HEADS = "{}_attention_heads"
_TIED = "decoder.output_projection.weight", "decoder.embed_tokens.weight"


def depth(weights: Mapping[str, Any], half: str) -> int:
    """Return how many layers an encoder or decoder of a Transformer has; 0 of another model."""
    found = [int(place[2]) for place in map(_LAYER.match, weights) if place and place[1] == half]
    return max(found, default=-1) + 1


def inherited_weights(
    name: str,
    teacher: Mapping[str, Tensor],
    student: Mapping[str, Tensor],
    maps: Mapping[str, str],
    heads: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {}),
) -> dict[str, Tensor]:
    """Return the student's weights with those of the teacher in their place.

    Args:
        name: of the teacher, for messages.
        teacher: weights by name.
        student: the same, as they were drawn.
        maps: ``encoder`` and ``decoder`` -> the text of a layer map.
        heads: settings of teacher and student, which say what their weights do not.

    Returns:
        all of the student's names.

    Raises:
        UserError: one of the two is no Transformer, a layer does not exist, or sizes differ.
    """
    owner = f"--init-from {name}"
    chosen: dict[str, LayerMap] = {}
    for half in HALVES:
        depths = depth(student, half), depth(teacher, half)
        if not all(depths):
            whose = "the student" if depths[1] else name
            raise UserError(
                f"{owner}: {whose} has no {half} of Transformer layers; a Transformer starts from a "
                "Transformer"
            )
        chosen[half] = layer_map(maps[half], *depths, owner=f"{owner}, --{half}-layers-map")
        _check_heads(owner, half, heads)
    if _tied(student) and not _tied(teacher):
        raise UserError(
            f"{owner}: its decoder's input and output embeddings differ, those of the student are one; leave "
            "out --share-decoder-input-output-embed and --share-all-embeddings"
        )
    start = {}
    for key, own in student.items():
        source = _source(key, chosen)
        if source is None:
            start[key] = own
            continue
        given = teacher.get(source)
        if given is None or given.shape != own.shape:
            there = "nothing of that name" if given is None else f"{source} {tuple(given.shape)}"
            raise UserError(
                f"{owner}: the student's {key} is {tuple(own.shape)}, the teacher has {there}; give the "
                "student the teacher's widths and kinds of layers (--encoder-embed-dim, "
                "--encoder-ffn-embed-dim, --encoder-normalize-before, and those of the decoder)"
            )
        start[key] = given
    return start


def _source(key: str, chosen: Mapping[str, LayerMap]) -> str | None:
    """Return the teacher's name of a student's weight; None for a layer that begins at random."""
    place = _LAYER.match(key)
    if place is None:
        return key
    half, layer, rest = place[1], int(place[2]) + 1, place[3]
    found = dict(chosen[half]).get(layer)
    return None if found is None else f"{half}.layers.{found - 1}.{rest}"


def _tied(weights: Mapping[str, Tensor]) -> bool:
    """Return whether what the decoder reads and what it writes are one matrix, or equal ones."""
    output, read = (weights.get(key) for key in _TIED)
    if output is None or read is None or output.shape != read.shape:
        return False
    return output.data_ptr() == read.data_ptr() or torch.equal(output, read)


def _check_heads(owner: str, half: str, settings: tuple[Mapping[str, Any], Mapping[str, Any]]) -> None:
    theirs, mine = (each.get(_HEADS.format(half)) for each in settings)
    if None not in (theirs, mine) and theirs != mine:
        raise UserError(
            f"{owner}: its {half} has {theirs} attention heads, the student's {mine}, so that the same "
            f"weights would attend otherwise; pass --{half}-attention-heads {theirs}"
        )
