"""``cmlm-kd score``: what its systems are called."""

import json

import pytest

from cmlm_kd.cli import main


@pytest.mark.parametrize("baseline", ["alone", "alone@1"])
def test_a_lone_seed_tells_no_runs_apart(tmp_path, baseline):
    (tmp_path / "reference").write_text("a file manager\na game of chess\n")
    for name in ("alone@1", "distilled@1"):
        (tmp_path / name).write_text(f"a file manager\na game of {name}\n")
    named = [f"{name}={tmp_path / name}" for name in ("alone@1", "distilled@1")]
    command = ["score", "--reference", str(tmp_path / "reference"), "--baseline", baseline]
    command += ["--metrics", "chrf", "--format", "json", "--output", str(tmp_path / "scores.json")]
    assert main([*command, "--hypothesis", *named]) == 0
    document = json.loads((tmp_path / "scores.json").read_text())
    assert document["baseline"] == "alone"
    assert [system["name"] for system in document["systems"]] == ["alone", "distilled"]


def test_a_baseline_that_is_no_system(tmp_path, capsys):
    (tmp_path / "a").write_text("a\n")
    command = ["score", "--reference", str(tmp_path / "a"), "--hypothesis", f"x@1={tmp_path / 'a'}"]
    assert main([*command, "--baseline", "y@1"]) == 2
    assert "baseline 'y' is not among the systems: 'x'" in capsys.readouterr().err
