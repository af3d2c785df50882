"""Model cards as the hub shows them, and the code in them."""

import ast

import pytest
from huggingface_hub import ModelCard

from cmlm_kd.deployment import snippets
from cmlm_kd.deployment.model_card import CardFacts, write_card
from cmlm_kd.models.exported import ExportRecord

RECORD = ExportRecord(
    format="cmlm-kd export",
    version="1",
    target="onnx",
    task="classification",
    architecture="bert_classifier",
    quantization="float32",
    most_source_tokens=40,
    most_target_tokens=0,
    model_hash="",
    labels=("a|b", "c"),
    kd_signature="kd:pkd|k:8|T:1",
)


def test_a_bar_ends_no_cell(tmp_path):
    markdown_it = pytest.importorskip("markdown_it")  # of the documentation's requirements
    facts = CardFacts(title="a", metrics=[("Accuracy", "dev|set", 0.5)])
    write_card(tmp_path, RECORD, facts, [])
    text = (tmp_path / "README.md").read_text()
    page = markdown_it.MarkdownIt("commonmark").enable("table").render(text)
    assert "<code>kd:pkd|k:8|T:1</code>" in page and "dev|set" in page and "a|b, c" in page
    card = ModelCard(text)
    assert card.data.license is None and card.data.library_name == "onnx"
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("accuracy", 0.5, "dev|set")


@pytest.mark.parametrize(
    "code", [snippets.HUGGING_FACE_CLASSIFIER, snippets.ONNX_CLASSIFIER, snippets.ONNX_WORDS]
)
def test_code_for_pairs_has_both_sides(code):
    text, second = 'say "name" {name}', "back\\slash {texts}"
    for more in ({"second": second}, {}):
        program = snippets.filled(code, 'a"b', text, **more)
        named = [node.value for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Constant)]
        assert text in named and (second in named) == bool(more)
        assert any(str(value).startswith('a"b') for value in named)
