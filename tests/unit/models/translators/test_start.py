"""Students that start from a translator's layers: which weights they get, and what is refused."""

import pytest
import torch

from cmlm_kd.errors import UserError
from cmlm_kd.models.translators.start import depth, inherited_weights

OUTSIDE = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "decoder.output_projection.weight")
UNIFORM = {"encoder": "uniform", "decoder": "uniform"}


def translator(encoder, decoder, width=2, tied=False, offset=0.0):
    """Weights by name, each filled with a number of its own."""
    weights = {name: torch.full((3, width), offset + i) for i, name in enumerate(OUTSIDE)}
    if tied:
        weights[OUTSIDE[2]] = weights[OUTSIDE[1]]
    for half, layers in (("encoder", encoder), ("decoder", decoder)):
        for layer in range(layers):
            number = offset + 10 + layer + (100 if half == "decoder" else 0)
            weights[f"{half}.layers.{layer}.fc1.weight"] = torch.full((width, width), number)
    return weights


def start(teacher, student, maps=UNIFORM, **more):
    found = inherited_weights("teacher.pt", teacher, student, maps, **more)
    assert found.keys() == student.keys()
    return {name: weight.flatten()[0].item() for name, weight in found.items()}


def test_layers_and_everything_else_are_the_teachers():
    got = start(translator(6, 4), translator(3, 2, offset=1000.0))
    assert [got[f"encoder.layers.{n}.fc1.weight"] for n in range(3)] == [11, 13, 15]
    assert [got[f"decoder.layers.{n}.fc1.weight"] for n in range(2)] == [111, 113]
    assert [got[name] for name in OUTSIDE] == [0, 1, 2]
    assert depth(translator(6, 4), "encoder") == 6


def test_a_layer_that_no_map_names_keeps_its_own_weights():
    got = start(translator(6, 4), translator(3, 2, offset=1000.0), {"encoder": "1:6,3:1", "decoder": "2,2"})
    assert [got[f"encoder.layers.{n}.fc1.weight"] for n in range(3)] == [15, 1011, 10]
    assert [got[f"decoder.layers.{n}.fc1.weight"] for n in range(2)] == [111, 111]


@pytest.mark.parametrize(
    ("teacher", "student", "maps", "message"),
    [
        ((6, 4), (3, 2), {"encoder": "1,2,7"}, r"--encoder-layers-map: .* layer 7 is not in 1 to 6"),
        ((6, 4), (3, 2), {"decoder": "1"}, "names 1 teacher layers, 2 layers of the student learn"),
        ((2, 2), (3, 2), {}, "deeper than its teacher"),
        ((0, 0), (3, 2), {}, r"--init-from teacher.pt: teacher.pt has no encoder of Transformer layers"),
        ((2, 2), (0, 0), {}, "the student has no encoder of Transformer layers"),
    ],
)
def test_layers_that_are_not_there_are_refused(teacher, student, maps, message):
    with pytest.raises(UserError, match=message):
        start(translator(*teacher), translator(*student), {**UNIFORM, **maps})


def test_other_sizes_and_kinds_are_refused():
    with pytest.raises(UserError, match=r"\(3, 2\), the teacher has .* \(3, 4\); .*--encoder-embed-dim"):
        start(translator(2, 2, width=4), translator(2, 2))
    longer = {**translator(2, 2), "encoder.layer_norm.weight": torch.ones(2)}
    with pytest.raises(UserError, match=r"nothing of that name; .* --encoder-normalize-before"):
        start(translator(2, 2), longer)
    with pytest.raises(UserError, match=r"embeddings differ, .* leave out --share-decoder-input"):
        start(translator(2, 2), translator(2, 2, tied=True))
    heads = ({"encoder_attention_heads": 8}, {"encoder_attention_heads": 4})
    with pytest.raises(UserError, match=r"8 attention heads, the student's 4, .*-attention-heads 8"):
        start(translator(2, 2), translator(2, 2), heads=heads)
