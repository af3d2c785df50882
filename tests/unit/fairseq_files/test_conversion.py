"""Translation models that CTranslate2's converter takes and gets wrong, or ends at without a word."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.conversion import check_convertible
from fairseq_plugins.command_line.conversion import check_conversions

PLAIN = {
    "cross_self_attention": False,
    "no_cross_attention": False,
    "adaptive_softmax_cutoff": None,
    "decoder_embed_dim": 64,
    "decoder_output_dim": 64,
}
OBSTACLES = [
    ({"cross_self_attention": True}, "--cross-self-attention, .*translate wrongly"),
    ({"no_cross_attention": True}, "--no-cross-attention"),
    ({"adaptive_softmax_cutoff": "100,200"}, "--adaptive-softmax-cutoff"),
    ({"decoder_normalize_before": True, "no_decoder_final_norm": True}, "--no-decoder-final-norm"),
    ({"decoder_output_dim": 32}, "--decoder-output-dim 32 beside --decoder-embed-dim 64"),
]


@pytest.mark.parametrize(("settings", "message"), OBSTACLES)
def test_what_cannot_be_converted(settings, message):
    check_convertible(PLAIN, "student.pt")
    check_convertible({}, "student.pt")
    check_convertible({**PLAIN, "no_decoder_final_norm": True}, "student.pt")  # there is none to leave out
    with pytest.raises(UserError, match=f"student.pt was trained with {message}.*fairseq-generate"):
        check_convertible({**PLAIN, **settings}, "student.pt")


@pytest.mark.parametrize(
    ("settings", "held"),
    [
        ({"no_token_positional_embeddings": True}, True),
        ({"activation_fn": "tanh"}, True),
        ({"encoder_attention_heads": 4, "decoder_attention_heads": 2}, True),
        ({"activation_fn": "tanh", "no_cross_attention": True}, False),
        ({"activation_fn": "linear"}, False),
        ({"encoder_normalize_before": True, "decoder_normalize_before": False}, False),
    ],
)
def test_the_nearest_target_is_named_where_there_is_one(settings, held):
    with pytest.raises(UserError) as refused:
        check_convertible({**PLAIN, **settings}, "student.pt")
    assert ("; export it to onnx or huggingface, decode it with" in str(refused.value)) == held


def test_the_converter_asks_first(monkeypatch):
    converter = ModuleType("ctranslate2.converters.fairseq")
    converter._get_model_spec = lambda args: ("spec", args.decoder_embed_dim)
    monkeypatch.setitem(sys.modules, converter.__name__, converter)
    check_conversions()
    assert converter._get_model_spec(SimpleNamespace(**PLAIN)) == ("spec", 64)
    with pytest.raises(UserError, match="--cross-self-attention"):
        converter._get_model_spec(SimpleNamespace(**{**PLAIN, "cross_self_attention": True}))


def test_without_the_converter_nothing_happens(monkeypatch):
    monkeypatch.delitem(sys.modules, "ctranslate2.converters.fairseq", raising=False)
    check_conversions()
