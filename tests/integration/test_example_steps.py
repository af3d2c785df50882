"""examples/steps.sh: when a step is skipped, done again or refused, with quick commands for steps."""

import os
import subprocess
import sys

import pytest
from documentation import REPOSITORY

STEPS = REPOSITORY / "examples" / "steps.sh"


@pytest.fixture
def shell(tmp_path):
    """Run commands of bash after those of steps.sh, with $run the folder run."""

    def call(commands, **environment):
        program = f'set -euo pipefail\n. "{STEPS}"\nrun={tmp_path}/run\n{commands}'
        return subprocess.run(
            ["bash", "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )

    return call


MAKE = """
make() {
    echo made >>"$run/calls"
    mkdir -p "$run/out/inner"
    echo text >"$run/out/inner/file"
    echo two >"$run/out/b"
}
step "Make it" "$run/out" make
"""


def calls(tmp_path):
    return (tmp_path / "run" / "calls").read_text().count("made")


@pytest.mark.parametrize("damage", ["nothing", "more", "missing", "cut off"])
def test_a_step_is_skipped_while_its_output_is_whole(shell, tmp_path, damage):
    assert shell(MAKE).returncode == 0
    out = tmp_path / "run" / "out"
    if damage == "more":
        (out / "another").write_text("of a later step")
        (out / "b").write_text("two and more")
    elif damage == "missing":
        (out / "inner" / "file").unlink()
    elif damage == "cut off":
        (out / "b").write_text("")
    done = shell(MAKE)
    assert done.returncode == 0, done.stderr
    whole = damage in ("nothing", "more")
    assert calls(tmp_path) == (1 if whole else 2)
    assert ("Make it: already there" in done.stdout) == whole
    if not whole:
        assert "files are missing or cut off" in done.stdout
        assert (out / "b").read_text() == "two\n" and (out / "inner" / "file").read_text() == "text\n"
        assert (tmp_path / "run" / "out.damaged").is_dir()


def test_a_step_whose_command_checks_its_output_is_called_each_time(shell, tmp_path):
    checked = MAKE.replace('step "Make', 'checked_step "Make')
    assert shell(checked).returncode == 0
    done = shell(checked)
    assert done.returncode == 0 and "already there" in done.stdout and calls(tmp_path) == 2
    failing = checked.replace("make() {", "make() { return 3;")
    assert shell(failing).returncode == 3


def test_another_command_is_refused(shell, tmp_path):
    assert shell(MAKE).returncode == 0
    done = shell(MAKE + 'step "Make it" "$run/out" make differently')
    assert done.returncode == 2 and "was made by another command; remove it" in done.stderr


def test_a_folder_has_many_names(shell, tmp_path):
    """Relative or not, with or without ./ and ../, it holds the results of the same command."""
    quick = "bash() { :; }; find_device() { :; }"  # nothing is installed, no device looked for
    for name in ("run", "./run", "other/../run", f"{tmp_path}//run/", f"{tmp_path}/./run"):
        done = shell(f"output={name}\n{quick}\nset_up default; echo $run")
        assert done.stdout == f"{tmp_path}/run\n", done.stderr
    for one, other in (
        ("train ./run/a", f"train {tmp_path}/run/a"),
        (f"train {tmp_path.parent}/model", f"train {tmp_path}/../model"),
        (f"train --to={tmp_path}/x/../run", "train --to=run"),
    ):
        assert shell(f'same_command "{one}" "{other}"').returncode == 0
    assert shell('same_command "train run/a" "train run/b"').returncode == 1


def test_a_failing_command_shows_the_end_of_its_log(shell, tmp_path):
    noise = "for n in 1 2 3 4 5 6 7; do echo line $n >&2; done"
    done = shell(f"decode() {{ echo half; {noise}; return 7; }}\nwith_log log decode >out\necho not reached")
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.splitlines()[:-1] == [f"line {n}" for n in range(3, 8)]
    assert done.stderr.splitlines()[-1].endswith("decode failed with status 7; all that it said is in log")
    done = shell("decode() { echo text; echo note >&2; }\nwith_log log decode >out\necho reached")
    assert (done.returncode, done.stdout, done.stderr) == (0, "reached\n", "")
    assert (tmp_path / "out").read_text() == "text\n" and (tmp_path / "log").read_text() == "note\n"


@pytest.mark.parametrize(("flags", "autocast"), [(("amx_bf16",), "--bf16-autocast"), ((), "")])
def test_bfloat16_is_chosen_where_the_cpu_has_it(shell, tmp_path, flags, autocast):
    (tmp_path / "sitecustomize.py").write_text(
        f"import cmlm_kd.system.cpu\ncmlm_kd.system.cpu.native_bfloat16 = lambda: {flags!r}\n"
        "import torch\ntorch.cuda.is_available = lambda: False\n"
    )
    environment = os.pathsep.join((str(tmp_path), str(REPOSITORY)))
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))
    done = shell('find_device; echo "[$cpu] [$autocast]"', PYTHONPATH=environment, PATH=path)
    assert done.stdout == f"[--cpu] [{autocast}]\n", done.stderr
