"""``scripts/setup.sh`` ends in one clear line when it cannot do its work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path):
    """A copy of what setup.sh reads, so that the real environment stays untouched."""
    for name in ("setup.py", "pyproject.toml", "requirements/constraints.txt", "cmlm_kd/version.py"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, target)
    shutil.copytree(REPOSITORY / "scripts", tmp_path / "scripts")
    return tmp_path


def setup(checkout, **environment):
    """Run the script; return its exit status and the lines of its standard error."""
    done = subprocess.run(
        ["bash", "scripts/setup.sh"],
        cwd=checkout,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    return done.returncode, done.stderr.splitlines()


def executable(path, text):
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_wrong_python_is_named(checkout):
    old = executable(checkout / "python3.9", "echo 3.9")
    status, errors = setup(checkout, PYTHON=old)
    assert status == 1
    assert errors == [f"setup.sh: PYTHON={old} is Python 3.9; cmlm-kd needs Python 3.11 or 3.12"]


def test_python_that_does_not_run(checkout):
    status, errors = setup(checkout, PYTHON="/nonexistent/python")
    assert status == 1
    assert errors == ["setup.sh: PYTHON=/nonexistent/python does not run"]


def test_environment_of_a_wrong_python(checkout):
    (checkout / ".venv" / "bin").mkdir(parents=True)
    executable(checkout / ".venv" / "bin" / "python", "echo 3.13")
    status, errors = setup(checkout)
    assert status == 1
    assert errors == [
        "setup.sh: .venv holds Python 3.13; cmlm-kd needs 3.11 or 3.12: remove .venv and run again"
    ]


def test_no_network_and_a_torch_that_fits_or_not(checkout):
    """A fitting torch is kept, so what cannot be downloaded is the rest; another one is to be replaced."""
    torch = checkout / "elsewhere" / "torch"
    torch.mkdir(parents=True)
    offline = {
        "PYTHON": sys._base_executable,
        "PYTHONPATH": str(torch.parent),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_FIND_LINKS": "",
        "PIP_RETRIES": "1",
        "PIP_EXTRA_INDEX_URL": "",
    }
    for version, missing in (("2.9.1+cpu", "--editable .[dev]"), ("2.5.0", "torch==2.13.0")):
        (torch / "__init__.py").write_text(f"__version__ = {version!r}\n")
        status, errors = setup(checkout, **offline)
        assert status == 1
        assert len(errors) == 1
        assert errors[0].startswith("setup.sh: no network: pip could not download what ")
        assert missing in errors[0]
    settings = (checkout / ".venv" / "pyvenv.cfg").read_text()
    assert "include-system-site-packages = true" in settings, "so that the torch found first is seen"
    assert not (checkout / ".venv" / "cmlm-kd-setup.stamp").exists()


def test_a_torchaudio_that_does_not_import(checkout):
    """It arrived after the set-up; of the doctor's checks, only the one for it runs, the others take long."""
    folder = checkout / ".venv" / "bin"
    folder.mkdir(parents=True)
    executable(folder / "python", f'exec {sys.executable} "$@"')
    doctor = (
        "from cmlm_kd import cli; from cmlm_kd.system import doctor; "
        "doctor.CHECKS = (doctor.check_torchaudio,); cli.entry_point()"
    )
    executable(folder / "cmlm-kd", f'exec {sys.executable} -c "{doctor}" "$@"')
    script = (checkout / "scripts" / "setup.sh").read_text()
    state = script[script.index("wanted() {") :].split("\n", 1)[0]
    command = f"constraints=requirements/constraints.txt; {state}; wanted > .venv/cmlm-kd-setup.stamp"
    subprocess.run(["bash", "-c", command], cwd=checkout, check=True)
    package = checkout / "elsewhere" / "torchaudio"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise OSError('libcudart.so.13: no such file')\n")
    paths = f"{package.parent}:{REPOSITORY}"
    assert setup(checkout, PYTHONPATH=str(REPOSITORY)) == (0, [])
    status, errors = setup(checkout, PYTHONPATH=paths)
    assert status == 1 and len(errors) == 1
    assert errors[0].startswith("broken  torchaudio: installed but does not import (OSError: libcudart.so.13")
    assert errors[0].endswith("; remedy: pip uninstall torchaudio")
