"""Directories with code of their own are refused, by name, and nobody is asked."""

import ast
import json
import sys
from pathlib import Path

import pytest
from tiny_teacher import write_bert
from transformers import AutoConfig, AutoModel, AutoTokenizer

from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.models.classifier import load_classifier
from cmlm_kd.models.encoders.pretrained import load_config, load_masked_lm
from cmlm_kd.system.hugging_face import is_language_model, load_saved
from cmlm_kd.tokenization.loading import load_tokenizer

REPOSITORY = Path(__file__).resolve().parents[3]
OURS = {"PieceTokenizer", "MaskedLM", "ConditionalMaskedLM", "MlmReplacement"}
"""Classes whose own ``from_pretrained`` leads to :func:`load_saved`."""


@pytest.fixture(params=["config.json", "tokenizer_config.json"])
def hostile(tmp_path, request):
    """A BERT that wants to run a file of its directory, which would leave a trace."""
    folder = write_bert(tmp_path / "bert", ["a good film"])
    (folder / "code.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\n")
    settings = json.loads((folder / request.param).read_text())
    names = {"AutoConfig": "code.C", "AutoModel": "code.M", "AutoTokenizer": ["code.T", None]}
    settings |= {"auto_map": names, "model_type": "nobody-knows"}
    (folder / request.param).write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    "load",
    [
        *(lambda path, kind=kind: load_saved(kind, path) for kind in (AutoConfig, AutoModel, AutoTokenizer)),
        load_config,
        lambda path: load_classifier(str(path)),
        lambda path: load_masked_lm(str(path)),
        lambda path: load_tokenizer(str(path)),
    ],
)
def test_code_is_refused_and_nobody_asked(hostile, tmp_path, monkeypatch, load):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    with pytest.raises(UserError, match=r"config\.json asks for Python code of its own \(auto_map: \{"):
        load(hostile)
    assert not (tmp_path / "trace").exists()


def test_prepare_refuses_such_a_teacher(hostile, tmp_path, capsys, monkeypatch):
    for language in ("de", "en"):
        (tmp_path / f"train.{language}").write_text("a good film\n")
    monkeypatch.setattr(sys, "stdin", None)
    flags = ["-s", "de", "-t", "en", "--trainpref", tmp_path / "train", "--destdir", tmp_path / "data"]
    assert main(["prepare", "--teacher", str(hostile), *map(str, flags)]) == 2
    assert "asks for Python code of its own" in capsys.readouterr().err
    assert not (tmp_path / "data").exists() and not (tmp_path / "trace").exists()


def test_all_loading_goes_one_way():
    """No other call of ``from_pretrained``, and nowhere a yes to code."""
    found = []
    for folder in ("cmlm_kd", "fairseq_plugins", "examples", "scripts"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    owner = ast.unparse(node.func.value)
                    if node.func.attr == "from_pretrained" and owner not in OURS:
                        found.append(path.relative_to(REPOSITORY).as_posix())
                if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                    assert ast.unparse(node.value) == "False", path
    assert found == ["cmlm_kd/system/hugging_face.py"]


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}, True),
        ({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}, True),
        ({"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3"}, True),
        ({"architectures": ["MarianMTModel"], "model_type": "marian", "is_encoder_decoder": True}, False),
        ({"architectures": ["BertForMaskedLM"], "model_type": "bert"}, False),
        ({"architectures": ["BertLMHeadModel"], "model_type": "bert"}, True),
        ({"architectures": None, "model_type": "gpt2"}, False),
        ({"architectures": 3, "model_type": ["gpt2"]}, False),
        ([], False),
    ],
)
def test_language_models(tmp_path, config, wanted):
    """By whatever name transformers knows them."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert is_language_model(tmp_path) is wanted
