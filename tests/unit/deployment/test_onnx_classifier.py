"""Graphs of classifiers: the logits of the model that they were made of, whatever the padding."""

import pytest
import torch
from tiny_classification import sentences, write_bert
from transformers import MobileBertConfig, MobileBertForSequenceClassification

from cmlm_kd.deployment.onnx_classifier import write_classifier_graph
from cmlm_kd.deployment.onnx_files import NEWEST_OPSET, OPSET, GraphSettings
from cmlm_kd.errors import UserError
from cmlm_kd.models.bilstm.model import BiLSTMClassifier, BiLSTMConfig, WordInputs
from cmlm_kd.models.classifier import SequenceClassifier, load_classifier
from cmlm_kd.models.exported import ExportRecord
from cmlm_kd.models.onnx_classifier import load_onnx_classifier
from cmlm_kd.models.text_classification import classify_texts
from cmlm_kd.tokenization.words import PAD, UNKNOWN, WordVocabulary

TEXTS = [text for text, _ in sentences(9, seed=3)]
OTHERS = [text for text, _ in sentences(9, seed=8)]

pytest.importorskip("onnxruntime")


def bilstm(pair):
    torch.manual_seed(2)
    words = sorted({word for text in [*TEXTS, *OTHERS] for word in text.split()})
    vocabulary = WordVocabulary([PAD, UNKNOWN, *words])
    config = BiLSTMConfig(("bad", "good"), pair=pair, embedding_dim=6, hidden_size=5, fc_size=4)
    return BiLSTMClassifier(config, WordInputs(vocabulary)).eval()


def mobilebert(folder):
    torch.manual_seed(1)
    tokenizer = load_classifier(str(write_bert(folder / "bert"))).inputs.tokenizer
    config = MobileBertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, intra_bottleneck_size=8, embedding_size=8, max_position_embeddings=40,
        num_feedforward_networks=1, num_labels=2,
    )  # fmt: skip
    return SequenceClassifier(MobileBertForSequenceClassification(config), tokenizer, "mobilebert").eval()


def loaded(model, folder, quantize=None, opset=OPSET):
    """Return what a user loads of an exported model."""
    folder.mkdir()
    write_classifier_graph(model, folder, GraphSettings(quantize, opset))
    ExportRecord(
        *("cmlm-kd export", "0", "onnx", "classification", "tiny", quantize or "float32"),
        *(int(model.inputs.max_length), 0, "hash"),
        labels=tuple(model.labels),
        reads_pairs=model.reads_pairs,
    ).write(folder)
    return load_onnx_classifier(folder)


@pytest.mark.parametrize(
    "kind", ["bert", "mobilebert", pytest.param("bilstm", marks=pytest.mark.long), "bilstm of pairs"]
)
def test_a_graph_gives_the_models_logits(kind, tmp_path):
    if kind == "bert":
        model = load_classifier(str(write_bert(tmp_path / "bert", layers=2)))
    else:
        model = mobilebert(tmp_path) if kind == "mobilebert" else bilstm(kind.endswith("pairs"))
    second = OTHERS if kind.endswith("pairs") else None
    graph = loaded(model, tmp_path / "out")
    for batch_size in (4, 1):  # texts of several lengths in a batch, and alone
        found = classify_texts(graph, TEXTS, second, batch_size=batch_size)
        wanted = classify_texts(model, TEXTS, second, batch_size=batch_size)
        assert found.labels == wanted.labels
        assert abs(found.logits - wanted.logits).max() < 1e-5
    assert graph.labels == model.labels and graph.reads_pairs == model.reads_pairs


def test_int8_is_near_has_no_large_matrix_in_float32_and_the_opset_that_was_asked_for(tmp_path):
    onnx = pytest.importorskip("onnx")
    model = load_classifier(str(write_bert(tmp_path / "bert", layers=1)))
    graph = loaded(model, tmp_path / "out", "int8", NEWEST_OPSET)
    difference = abs(classify_texts(graph, TEXTS).logits - classify_texts(model, TEXTS).logits).max()
    assert 0 < difference < 0.5
    written = onnx.load(tmp_path / "out" / "model.onnx")
    weights = written.graph.initializer
    floats = [one.dims for one in weights if one.data_type == onnx.TensorProto.FLOAT and len(one.dims) == 2]
    assert not [dims for dims in floats if dims[0] == len(model.inputs.tokenizer)]  # the embeddings
    assert {one.domain: one.version for one in written.opset_import}[""] == NEWEST_OPSET


@pytest.mark.parametrize("opset", [9, OPSET - 1, NEWEST_OPSET + 1])
def test_an_opset_that_is_too_old_or_too_new_is_refused(opset):
    with pytest.raises(UserError, match=rf"--opset is {opset}; it must be from 18 to 23"):
        GraphSettings(opset=opset)
