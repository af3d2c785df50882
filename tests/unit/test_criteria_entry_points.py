"""Criteria of installed packages: found by their entry points, and named where they are broken.

The packages are installed as pip installs one: modules and a folder ``NAME-VERSION.dist-info`` on the path.
"""

import json
import os
import subprocess
import sys

import pytest

CRITERION = """
from dataclasses import dataclass
from cmlm_kd.api import CriterionOutput, SentenceCriterion, kd_criteria

@dataclass
class {cls}Config:
    share: float = 0.5

@kd_criteria.register("{name}", config={cls}Config)
class {cls}(SentenceCriterion):
    def training_loss(self, student, target, teacher):
        return CriterionOutput(student.logits.sum(), {{}})
"""
PROGRAM = """
import json
from cmlm_kd.api import kd_criteria
from cmlm_kd.criteria import load_criteria
from cmlm_kd.errors import UserError
load_criteria(); load_criteria()
def say(name):
    try:
        return kd_criteria.get(name).cls.__module__
    except UserError as error:
        return str(error)
print(json.dumps({name: say(name) for name in ("good", "absent", "crash", "pkd", "misnamed", "pdk")}))
"""


def install(site, name, registered, module, source, group="cmlm_kd.criteria"):
    """Put a package of one module with one entry point where Python finds it."""
    information = site / f"{name.replace('-', '_')}-1.2.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (information / "entry_points.txt").write_text(f"[{group}]\n{registered} = {module}\n")
    if source is not None:
        (site / f"{module}.py").write_text(source)


def run(site, *arguments):
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    install(site, "kd-good", "good", "kd_good", CRITERION.format(name="good", cls="Good"))
    install(site, "kd-absent", "absent", "kd_absent", None)
    install(site, "kd-crash", "crash", "kd_crash", "1 / 0\n")
    install(site, "kd-taken", "pkd", "kd_taken", CRITERION.format(name="pkd", cls="Mine"))
    install(site, "kd-misnamed", "misnamed", "kd_misnamed", CRITERION.format(name="other", cls="Other"))
    return site


@pytest.fixture(scope="module")
def loaded(site):
    done = run(site, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_package_adds_a_criterion(loaded):
    assert loaded[0]["good"] == "kd_good"


def test_ours_stays_where_a_package_wants_its_name(loaded):
    found, warnings = loaded
    assert found["pkd"] == "cmlm_kd.criteria.pkd"
    assert "'pkd' of package kd-taken 1.2 cannot be used" in warnings
    assert "already registered by cmlm_kd.criteria.pkd.PKD" in warnings


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "ModuleNotFoundError: No module named 'kd_absent'; update or repair the package"),
        ("crash", "ZeroDivisionError: division by zero; update or repair the package"),
        ("misnamed", "it registers no KD criterion of that name (but other); name the entry point as"),
    ],
)
def test_a_broken_package_is_named(loaded, name, reason):
    found, warnings = loaded
    begin = f"KD criterion '{name}' of package kd-{name} 1.2 cannot be used: entry point '{name} = kd_{name}'"
    assert found[name].startswith(begin) and reason in found[name]
    assert warnings.count(begin) == 1, "said once, however often criteria are loaded"


def test_other_names_are_unknown_as_ever(loaded):
    assert "no KD criterion is named 'pdk'; did you mean 'pkd'" in loaded[0]["pdk"]


def test_the_command_knows_what_a_package_adds(site):
    done = run(site, "-m", "cmlm_kd", "flags", "good")
    assert done.returncode == 0 and "--share\n" in done.stdout
    broken = run(site, "-m", "cmlm_kd", "flags", "crash")
    assert broken.returncode != 0 and "package kd-crash 1.2" in broken.stderr
    assert "Traceback" not in broken.stderr


SOURCE = """
from cmlm_kd.api import ModelDescription, NamedSource, TeacherSignal, signal_sources

@signal_sources.register("silent")
class Silent(NamedSource):
    description = ModelDescription("silent", frozenset())
    @classmethod
    def from_argument(cls, argument, training_set):
        return cls()
    def signal(self, batch, request=None, *, dropout=False):
        return TeacherSignal()
"""
SOURCE_PROGRAM = """
from pathlib import Path
from cmlm_kd.api import TrainingSet
from cmlm_kd.api.sources import named_source
from cmlm_kd.errors import UserError
from cmlm_kd.teachers import load_sources
load_sources()
data = TrainingSet(Path("data"), "train", 9, 1)
print(type(named_source("silent=", data)).__module__, named_source("store", data))
try:
    named_source("broken=1", data)
except UserError as error:
    print(error)
"""


def test_a_package_adds_a_source_of_signals(tmp_path):
    install(tmp_path, "kd-silent", "silent", "kd_silent", SOURCE, "cmlm_kd.sources")
    install(tmp_path, "kd-broken", "broken", "kd_broken", "1 / 0\n", "cmlm_kd.sources")
    done = run(tmp_path, "-c", SOURCE_PROGRAM)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("kd_silent None\nsignal source 'broken' of package kd-broken 1.2 cannot be")
