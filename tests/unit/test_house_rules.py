"""The rules of the house that no tool knows; import-linter (pyproject.toml) watches over imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cmlm_kd.api

ROOT = Path(__file__).parents[2]
LIBRARY = sorted((ROOT / "cmlm_kd").rglob("*.py"))
PLUGIN = sorted((ROOT / "fairseq_plugins").rglob("*.py"))
UNIT_TESTS = sorted((ROOT / "tests" / "unit").rglob("test_*.py"))
NOT_OF_ONE_MODULE = {Path(__file__).name, "test_without_labels.py", "test_forward_keywords.py"}
LINES = 400
ROOMS = 18
NO_ROOMS = {"__init__.py", "__main__.py", "__pycache__", "py.typed", "version.py"}


def name_of(path):
    return str(path.relative_to(ROOT))


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", PLUGIN, ids=name_of)
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


def test_the_public_interface_needs_no_torch_until_it_is_used():
    program = (
        "import sys, cmlm_kd.api\n"
        "from cmlm_kd.api import UserError, check_settings\n"
        "assert not {'torch', 'numpy', 'transformers', 'pyarrow'} & set(sys.modules)\n"
        "assert set(cmlm_kd.api.__all__) <= set(dir(cmlm_kd.api))\n"
        "for name in cmlm_kd.api.__all__: getattr(cmlm_kd.api, name)\n"
        "assert cmlm_kd.api.SoftTargets is sys.modules['cmlm_kd.api.signals'].SoftTargets\n"
        "assert not hasattr(cmlm_kd.api, 'Nothing')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_public_interface_is_the_same_to_type_checkers():
    tree = ast.parse((ROOT / "cmlm_kd" / "api" / "__init__.py").read_text(encoding="utf-8"))
    (told,) = (node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    imported = {node.module: {alias.name for alias in node.names} for node in told.body}
    assert imported == {module: set(names) for module, names in cmlm_kd.api._PLACES.items()}
    assert sorted(cmlm_kd.api.__all__) == sorted(name for names in imported.values() for name in names)


@pytest.mark.parametrize("path", [*LIBRARY, *PLUGIN], ids=name_of)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_user_input_is_not_checked_by_assert(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("path", [*LIBRARY, *PLUGIN], ids=name_of)
def test_a_file_is_one_concept_of_bearable_length(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


@pytest.mark.parametrize("package", ["cmlm_kd", "fairseq_plugins"])
def test_a_package_has_few_rooms(package):
    found = {path.name for path in (ROOT / package).iterdir()} - NO_ROOMS
    assert len(found) <= ROOMS, sorted(found)


def subject_of(path):
    """Return the module or room that a unit test is about, by its name and its folder; None for none."""
    room = path.parent.relative_to(ROOT / "tests" / "unit")
    source = ROOT / "cmlm_kd" / room
    if room.parts[:1] == ("plugin",):
        source = ROOT.joinpath("fairseq_plugins", *room.parts[1:])
    words = path.stem.removeprefix("test_").split("_")
    for end in range(len(words), 0, -1):
        name = "_".join(words[:end])
        for candidate in (source / f"{name}.py", source / name):
            if candidate.exists():
                return candidate
    return None


@pytest.mark.parametrize("path", UNIT_TESTS, ids=name_of)
def test_a_unit_test_lies_where_its_module_does(path):
    assert path.name in NOT_OF_ONE_MODULE or subject_of(path) is not None
