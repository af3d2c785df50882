"""The rules of the house: what may import what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = sorted((ROOT / "cmlm_kd").rglob("*.py"))
PLUGIN = sorted((ROOT / "fairseq_plugins").rglob("*.py"))


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_library_imports_neither_fairseq_nor_the_plugin(path):
    roots = {module.split(".")[0] for module in imported_modules(path)}
    assert not roots & {"fairseq", "fairseq_cli", "fairseq_plugins"}


@pytest.mark.parametrize("path", PLUGIN, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugin_holds_no_formula(path):
    assert "torch.nn.functional" not in set(imported_modules(path))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and hasattr(node.func, "attr")
    }
    assert not called & {"softmax", "log_softmax", "logsumexp", "cross_entropy", "kl_div", "mse_loss"}


def test_library_imports_without_fairseq():
    modules = [
        str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
        for path in LIBRARY
        if path.name != "__main__.py"
    ]
    program = (
        "import sys, importlib\n"
        "sys.modules['fairseq'] = None\n"  # importing it now raises ImportError
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "assert 'fairseq_plugins' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", [*LIBRARY, *PLUGIN], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_user_input_is_not_checked_by_assert(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
