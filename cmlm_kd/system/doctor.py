"""Checks of the environment for what is known to break fairseq, torch and transformers together."""

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.version import Version

from cmlm_kd.errors import UserError
from cmlm_kd.system.environment import CPU_INFO, FAIRSEQ_BUILDS, installed_version, native_bfloat16
from cmlm_kd.system.user_dir import PLUGIN_NAME, plugin_directory

Status = Literal["ok", "info", "broken"]

FAIRSEQ_INSTALL = "pip install --no-deps ve-fairseq==0.12.3"
_SUPPORTED_PYTHONS = ((3, 11), (3, 12))
_UNSAFE_LOADING = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_CPU_RANKS = (
    "--distributed-init-method tcp://127.0.0.1:PORT --distributed-world-size N --distributed-rank R "
    "--distributed-no-spawn --distributed-backend gloo --ddp-backend legacy_ddp --device-id 0 --cpu"
)


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was examined, how it stands, and the remedy when it is broken."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Probe:
    """What a separate Python process said: whether it ended well, and its last line of output or error."""

    succeeded: bool
    last_line: str


def run_probe(code: str, *arguments: str) -> Probe:
    """Run ``code`` in a fresh Python of this environment, in an empty folder, so that a crash stays there."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return Probe(done.returncode == 0, lines[-1].strip() if lines else f"exit status {done.returncode}")


def check_python() -> Finding:
    """Wheels of fairseq exist for these Pythons only."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if tuple(sys.version_info[:2]) in _SUPPORTED_PYTHONS:
        return Finding("python", "ok", version)
    return Finding(
        "python", "broken", f"{version}; 3.11 or 3.12 is needed", "make the environment with Python 3.12"
    )


def check_requirements() -> Finding:
    """Every requirement of the installed package is there in a version that fits."""
    try:
        requirements = [Requirement(line) for line in importlib.metadata.requires("cmlm-kd") or ()]
    except importlib.metadata.PackageNotFoundError:
        return Finding(
            "requirements", "info", "cmlm-kd runs uninstalled, nothing to compare with", "pip install ."
        )
    misfits = []
    for requirement in requirements:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = installed_version(requirement.name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            misfits.append((requirement, version or "missing"))
    if not misfits:
        return Finding("requirements", "ok", f"all {len(requirements)} fit")
    detail = ", ".join(f"{requirement.name} {version}" for requirement, version in misfits)
    remedy = "pip install " + " ".join(
        f"'{requirement.name}{requirement.specifier}'" for requirement, _ in misfits
    )
    return Finding("requirements", "broken", detail, remedy)


def check_torch() -> Finding:
    """Import torch and say what it can use; its version range is one of the requirements."""
    probe = run_probe(
        "import torch; print(torch.__version__, 'cuda' if torch.cuda.is_available() else 'cpu only')"
    )
    if probe.succeeded:
        return Finding("torch", "ok", probe.last_line)
    return Finding("torch", "broken", f"does not import: {probe.last_line}", "pip install torch==2.13.0")


def check_torchaudio() -> Finding:
    """Transformers 5 imports torchaudio where it is present, and fails when that import fails."""
    probe = run_probe("import importlib.util as u; print(u.find_spec('torchaudio') is not None)")
    if probe.last_line == "False":
        return Finding("torchaudio", "ok", "not installed, and not needed")
    probe = run_probe("import torchaudio; print(torchaudio.__version__)")
    if probe.succeeded:
        return Finding("torchaudio", "ok", f"{probe.last_line} imports (not needed)")
    return Finding(
        "torchaudio",
        "broken",
        f"installed but does not import ({probe.last_line}), and transformers fails with it",
        "pip uninstall torchaudio",
    )


def check_fairseq() -> Finding:
    """Fairseq imports; which build it is."""
    builds = [
        f"{name} {version}" for name in FAIRSEQ_BUILDS if (version := installed_version(name)) is not None
    ]
    if importlib.util.find_spec("fairseq") is None:
        return Finding("fairseq", "broken", "not installed", FAIRSEQ_INSTALL)
    probe = run_probe("import importlib, sys; importlib.import_module(sys.argv[1])", "fairseq")
    detail = ", ".join(builds) or "a build that pip does not know"
    if len(builds) > 1:
        return Finding(
            "fairseq", "broken", f"several builds: {detail}", f"pip uninstall those, then {FAIRSEQ_INSTALL}"
        )
    if not probe.succeeded:
        return Finding("fairseq", "broken", f"{detail} does not import: {probe.last_line}", FAIRSEQ_INSTALL)
    return Finding("fairseq", "ok", detail)


def check_configuration_libraries() -> Finding:
    """Old Hydra and OmegaConf fail on Python 3.11 and ignore the defaults of fairseq's architectures."""
    wanted = {"hydra-core": "1.3.2", "omegaconf": "2.3"}
    versions = {name: installed_version(name) for name in wanted}
    detail = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    if all(
        version is not None and Version(version) >= Version(wanted[name])
        for name, version in versions.items()
    ):
        return Finding("configuration", "ok", detail)
    return Finding(
        "configuration", "broken", detail, "pip install 'hydra-core>=1.3.2,<1.4' 'omegaconf>=2.3,<2.4'"
    )


def check_numpy_aliases() -> Finding:
    """Three places of fairseq still say np.float or np.int; none is on the road of this toolkit."""
    version = installed_version("numpy")
    if version is None:
        return Finding("numpy", "broken", "missing", "pip install 'numpy>=1.26,<3'")
    return Finding(
        "numpy",
        "info",
        f"{version} has no np.float: fairseq's dynamic CRF layer and non-overlapping span masks fail, "
        "translation does not use them",
    )


def check_safe_loading() -> Finding:
    """Torch's safe loading of checkpoints must stay on."""
    if os.environ.get(_UNSAFE_LOADING, "0") in ("", "0"):
        return Finding("safe loading", "ok", "on")
    return Finding(
        "safe loading",
        "broken",
        f"{_UNSAFE_LOADING}={os.environ[_UNSAFE_LOADING]} lets any checkpoint run code when it is loaded",
        f"unset {_UNSAFE_LOADING} (the plug-in makes fairseq's checkpoints load safely)",
    )


def check_user_dir() -> Finding:
    """``--user-dir fairseq_plugins`` leads fairseq to the plug-in of this installation, from any folder."""
    try:
        directory = plugin_directory()
        code = (directory / "command_line" / "user_dir_probe.py").read_text(encoding="utf-8")
    except (UserError, OSError) as error:
        return Finding("user-dir", "broken", str(error), "pip install .")
    by_path = run_probe(code, str(directory))
    if not by_path.succeeded:
        remedy = FAIRSEQ_INSTALL if importlib.util.find_spec("fairseq") is None else "pip install ."
        return Finding("user-dir", "broken", f"{directory} does not import: {by_path.last_line}", remedy)
    if not json.loads(by_path.last_line)["safe"]:
        return Finding(
            "user-dir", "broken", f"{directory} does not allow fairseq's checkpoints", "pip install ."
        )
    by_name = run_probe(code, PLUGIN_NAME)
    if not by_name.succeeded:
        detail = f"{directory} (only by its path: the name alone is not found from other folders)"
        return Finding("user-dir", "info", detail, "cmlm-kd user-dir --link")
    found = Path(json.loads(by_name.last_line)["path"]).resolve()
    if found != directory:
        detail = f"{PLUGIN_NAME} is not unique: the name leads to {found}, this installation has {directory}"
        return Finding(
            "user-dir", "broken", detail, f"pip uninstall cmlm-kd there, or pass --user-dir {directory}"
        )
    return Finding("user-dir", "ok", str(directory))


def check_bfloat16(cpu_info: Path = CPU_INFO) -> Finding:
    """Whether bfloat16 autocast on this CPU is fast."""
    native = native_bfloat16(cpu_info)
    if native is None:
        return Finding("bfloat16 on CPU", "info", "unknown on this system")
    if native:
        return Finding("bfloat16 on CPU", "info", f"native ({', '.join(native)}): autocast pays")
    return Finding(
        "bfloat16 on CPU", "info", "not native: autocast would slow training down, stay with float32"
    )


def check_processes() -> Finding:
    """``torchrun ... --cpu`` trains independent copies that overwrite each other's checkpoints."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        probe = run_probe("import torch; print(torch.cuda.is_available())")
        if probe.last_line != "True":
            detail = "fairseq under torchrun on CPUs trains N independent copies"
            return Finding("processes", "broken", detail, f"start each rank with {_CPU_RANKS}")
    return Finding("processes", "info", f"several CPU processes: not torchrun, but {_CPU_RANKS}")


def check_batches() -> Finding:
    """Fairseq drops sentences by default, from test sets too (its issue 5036)."""
    return Finding(
        "batches",
        "info",
        "fairseq drops a last batch that is no multiple of 8, of test sets too: "
        "train, validate and generate with --required-batch-size-multiple 1",
    )


CHECKS: tuple[Callable[[], Finding], ...] = (
    check_python,
    check_requirements,
    check_torch,
    check_torchaudio,
    check_fairseq,
    check_configuration_libraries,
    check_numpy_aliases,
    check_safe_loading,
    check_user_dir,
    check_bfloat16,
    check_processes,
    check_batches,
)
