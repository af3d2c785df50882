"""The installed package: its command, and a plug-in that fairseq finds by name from any folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cmlm_kd.system.user_dir import fairseq_directory

REPOSITORY = Path(__file__).resolve().parents[2]
IMPORT_BY_NAME = """
import argparse, json
from fairseq import utils
from fairseq.criterions import CRITERION_REGISTRY
for directory in {directories!r}:
    utils.import_user_module(argparse.Namespace(user_dir=directory))
import cmlm_kd, fairseq_plugins
print(json.dumps({{
    "plugin": list(fairseq_plugins.__path__)[0],
    "library": cmlm_kd.__file__,
    "criterion": "soft_target_kd" in CRITERION_REGISTRY,
}}))
"""


def run(command, folder, **environment):
    """Run a command in ``folder`` and return its standard output."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def fairseq_site(tmp_path):
    """A site-packages that holds fairseq (its files by links, as the real one is not to be changed)."""
    installed = fairseq_directory().parent
    site = tmp_path / "site"
    for name in ("fairseq", "fairseq_cli"):
        (site / name).mkdir(parents=True)
        for entry in (installed / name).iterdir():
            (site / name / entry.name).symlink_to(entry)
    return site


def test_regular_install_gives_the_command_and_the_plugin_by_name(tmp_path, fairseq_site):
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("cmlm_kd", "fairseq_plugins"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    run([*pip, *offline, "--target", str(fairseq_site), str(source)], tmp_path)
    shutil.rmtree(source)

    anywhere = tmp_path / "anywhere"
    anywhere.mkdir()
    command = str(fairseq_site / "bin" / "cmlm-kd")
    assert run([command, "--version"], anywhere, PYTHONPATH=str(fairseq_site)) == "cmlm-kd 0.1.0\n"
    plugin = fairseq_site / "fairseq_plugins"
    assert run([command, "user-dir"], anywhere, PYTHONPATH=str(fairseq_site)) == f"{plugin}\n"

    code = IMPORT_BY_NAME.format(directories=["fairseq_plugins"])
    found = json.loads(run([sys.executable, "-c", code], anywhere, PYTHONPATH=str(fairseq_site)))
    assert Path(found["plugin"]).resolve() == plugin
    assert Path(found["library"]).resolve().parent == fairseq_site / "cmlm_kd"
    assert found["criterion"]
    assert (fairseq_site / "cmlm_kd" / "py.typed").is_file()
    own = REPOSITORY / "cmlm_kd" / "evaluation" / "page" / "templates"
    installed = fairseq_site / "cmlm_kd" / "evaluation" / "page" / "templates"
    assert {path.name for path in installed.iterdir()} == {path.name for path in own.iterdir()}


def test_link_of_an_editable_install_gives_the_plugin_by_name(tmp_path, fairseq_site):
    path = os.pathsep.join([str(fairseq_site), str(REPOSITORY)])
    command = [sys.executable, "-m", "cmlm_kd", "user-dir", "--link"]
    assert run(command, tmp_path, PYTHONPATH=path) == f"{REPOSITORY / 'fairseq_plugins'}\n"
    assert run(command, tmp_path, PYTHONPATH=path), "linking twice is no error"

    # By name and by path in one process: one plug-in, registered once.
    code = IMPORT_BY_NAME.format(directories=["fairseq_plugins", str(REPOSITORY / "fairseq_plugins")])
    found = json.loads(run([sys.executable, "-c", code], tmp_path, PYTHONPATH=path))
    assert Path(found["plugin"]) == REPOSITORY / "fairseq_plugins"
    assert found["criterion"]


def test_link_spares_another_installation(tmp_path, fairseq_site):
    other = fairseq_site / "fairseq_plugins"
    other.mkdir()
    (other / "__init__.py").write_text("# another installation\n")
    done = subprocess.run(
        [sys.executable, "-m", "cmlm_kd", "user-dir", "--link"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(fairseq_site), str(REPOSITORY)])},
        check=False,
    )
    assert done.returncode == 2
    assert f"{other} is another installation" in done.stderr
    assert (other / "__init__.py").read_text() == "# another installation\n"
