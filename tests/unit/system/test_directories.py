"""Directories that appear whole or not at all, beside their place or in a directory that is there already."""

import os
import re
import stat
import subprocess
import sys

import pytest
import torch
from disk import killed, largest_file, names, umask
from safetensors.torch import save_file

from cmlm_kd.errors import UserError
from cmlm_kd.system import directories
from cmlm_kd.system.aside import partial_of
from cmlm_kd.system.files import check_new_directory, directory_written_aside, finish_interrupted

NEW = {"config.json": "new", "data/first": "new", "data/second": "new"}


def write(path, contents=NEW, **settings):
    with directory_written_aside(path, **settings) as partial:
        fill(partial, contents)


def fill(partial, contents=NEW):
    for name, text in contents.items():
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).write_text(text)


def contents(path):
    files = (file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_text() for file in files}


@pytest.mark.parametrize("there", [False, True])
def test_a_directory_is_there_at_the_end_and_not_before(tmp_path, there):
    path = tmp_path / "made" / "out"
    if there:
        path.mkdir(parents=True)
    with directory_written_aside(path) as partial:
        fill(partial)
        assert contents(path) in ({}, {f".partial/new/{name}": text for name, text in NEW.items()})
    assert contents(path) == NEW and names(path) == ["config.json", "data"] and names(path.parent) == ["out"]


@pytest.mark.parametrize("there", [False, True])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path, there):
    path = tmp_path / "made" / "out"
    if there:
        path.mkdir(parents=True)
    with pytest.raises(KeyError), directory_written_aside(path) as partial:
        fill(partial)
        raise KeyError
    assert not path.exists() or names(path) == []
    assert path.exists() == there and (tmp_path / "made").exists() == there


def test_what_can_be_a_mount_point_is_filled_and_not_replaced(tmp_path, monkeypatch):
    """Nothing can be renamed onto a mount point, nor may anything be made beside it."""
    path = tmp_path / "out"
    path.mkdir()
    (path / "lost+found").mkdir()
    node = path.stat().st_ino
    monkeypatch.setattr(directories, "_beside", None)
    check_new_directory(path)
    write(path)
    assert contents(path) == NEW and path.stat().st_ino == node


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts, as only root can")
def test_a_mount_point(tmp_path):
    """The real thing; where containers may not mount, the test above is what covers it."""
    code = (
        "import os, sys, subprocess; from pathlib import Path\n"
        "from cmlm_kd.system.files import directory_written_aside\n"
        "if subprocess.run(['mount', '-t', 'tmpfs', 'none', sys.argv[1]]).returncode: sys.exit(7)\n"
        "with directory_written_aside(Path(sys.argv[1])) as partial: (partial / 'new').write_text('new')\n"
        "print(os.listdir(sys.argv[1]))"
    )
    path = tmp_path / "out"
    path.mkdir()
    command = ["unshare", "--mount", sys.executable, "-c", code, path]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.stderr.startswith("unshare:") or (run.returncode == 7 and run.stderr.startswith("mount:")):
        pytest.skip(f"nothing can be mounted here ({run.stderr.strip()})")
    assert run.stdout == "['new']\n" and names(path) == [], run.stderr


@pytest.mark.parametrize("there", [False, True])
def test_all_files_have_the_permissions_of_the_umask(tmp_path, there):
    with umask(0o027):
        (tmp_path / "out").mkdir() if there else None
        with directory_written_aside(tmp_path / "out") as partial:
            (partial / "folder").mkdir(mode=0o700)
            for path in (partial, partial / "folder"):
                save_file({"a": torch.zeros(1)}, path / "model")  # leaves 0600
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*")}
    assert modes["model"] == 0o640 and (there or modes["folder"] == 0o750)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o750


def test_a_link_to_a_directory_stays_one(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for name, target in (("link", "elsewhere"), ("dangling", "elsewhere/out")):
        (tmp_path / name).symlink_to(target)
        write(tmp_path / name)
        assert (tmp_path / name).is_symlink() and (tmp_path / name / "config.json").read_text() == "new"
    assert names(tmp_path) == ["dangling", "elsewhere", "link"]


@pytest.mark.parametrize("there", [False, True])
def test_two_processes_do_not_write_the_same_directory(tmp_path, there):
    path = tmp_path / "out"
    if there:
        path.mkdir()
    with directory_written_aside(path) as partial:
        fill(partial)
        with pytest.raises(UserError, match=f"^another process is writing {path}; wait for it or choose"):
            write(path)
    assert contents(path) == NEW


def test_what_came_into_being_meanwhile_stays(tmp_path):
    path = tmp_path / "out"
    message = f"^{path}: Directory not empty; choose another place"
    with pytest.raises(UserError, match=message), directory_written_aside(path) as partial:
        fill(partial)
        fill(path, {"config.json": "theirs"})
    assert contents(path) == {"config.json": "theirs"} and names(tmp_path) == ["out"]


@pytest.mark.parametrize("there", [False, True])
def test_what_a_killed_run_leaves_the_next_one_removes(tmp_path, there):
    path = tmp_path / "out"
    if there:
        path.mkdir()
    killed("directory_written_aside", "(partial / 'half').write_text('half')", path)
    assert names(path if there else tmp_path) == [".partial" if there else partial_of(path).name]
    check_new_directory(path)
    write(path)
    assert contents(path) == NEW and names(tmp_path) == ["out"]


def test_files_that_are_not_named_stay_and_those_that_are_make_room(tmp_path):
    old = {"config.json": "old", "data/first": "old", "data/gone": "old", "old/gone": "old"}
    others = {"checkpoints/checkpoint_best.pt": "weeks", "data/notes": "theirs", "notes": "theirs"}
    fill(tmp_path, {**old, **others})
    write(tmp_path, replaces=[*old, "never/there"])
    assert contents(tmp_path) == {**NEW, **others} and not (tmp_path / "old").exists()


@pytest.mark.parametrize("name", ["data/first", "data"])
def test_another_file_in_the_way(tmp_path, name):
    fill(tmp_path, {"config.json": "old", name: "theirs"})
    with pytest.raises(
        UserError, match=f"^{tmp_path / name}: (File exists|Not a directory); .*choose another"
    ):
        write(tmp_path, replaces=["config.json"])
    assert contents(tmp_path) == {"config.json": "old", name: "theirs"}


COMMITTED = """
import os, signal, sys
from pathlib import Path
from cmlm_kd.system import directories

replace, left = os.replace, [int(sys.argv[2])]
def killed(*names):
    if not left[0]: os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    replace(*names)
os.replace = killed
with directories.directory_written_aside(Path(sys.argv[1]), replaces=["config.json", "data/gone"]) as partial:
    (partial / "data").mkdir()
    for name in ("config.json", "data/first", "data/second"):
        (partial / name).write_text("new")
"""


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_kill_while_files_are_moved_is_made_good_by_whoever_comes_next(tmp_path, moved):
    fill(tmp_path, {"config.json": "old", "data/gone": "old", "notes": "theirs"})
    assert subprocess.run([sys.executable, "-c", COMMITTED, tmp_path, str(moved)]).returncode == -9
    assert not (tmp_path / "config.json").exists()  # nobody takes it for a whole one
    finish_interrupted(tmp_path)
    assert contents(tmp_path) == {**NEW, "notes": "theirs"}
    finish_interrupted(tmp_path)
    with pytest.raises(UserError, match="is not empty"):
        check_new_directory(tmp_path)


@pytest.mark.parametrize(
    "plan",
    ['{"remove": ["../victim"], "move": []}', '{"remove": [], "move": ["/tmp/x"]}', "[]", "{", '{"a": 1}'],
)
def test_a_plan_from_elsewhere_leads_nowhere(tmp_path, plan):
    fill(tmp_path, {"victim": "theirs", "out/.partial/commit.json": plan})
    message = (
        f"{tmp_path / 'out/.partial/commit.json'} is damaged; remove the folder {tmp_path / 'out/.partial'}"
    )
    with pytest.raises(UserError, match=re.escape(message)):
        finish_interrupted(tmp_path / "out")
    assert (tmp_path / "victim").exists()


@pytest.mark.parametrize(
    "plan", ['{"remove": ["link/victim"], "move": []}', '{"remove": [], "move": ["link/new"]}']
)
def test_a_plan_follows_no_links(tmp_path, plan):
    fill(tmp_path, {"theirs/victim": "", "out/.partial/commit.json": plan, "out/.partial/new/link/new": ""})
    (tmp_path / "out" / "link").symlink_to(tmp_path / "theirs")
    with pytest.raises(UserError, match=r"commit\.json is damaged"):
        finish_interrupted(tmp_path / "out")
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["victim"]


@pytest.mark.parametrize("linked", [".partial", ".partial/new"])
def test_a_place_aside_that_is_a_link_is_nobodys(tmp_path, linked):
    plan = '{"remove": [], "move": ["config.json"]}'
    fill(tmp_path, {"theirs/commit.json": plan, "theirs/new/config.json": "", "theirs/config.json": ""})
    (tmp_path / "out" / linked).parent.mkdir(parents=True)
    (tmp_path / "out" / linked).symlink_to(tmp_path / "theirs")
    if linked != ".partial":
        fill(tmp_path / "out", {".partial/commit.json": plan})
    finish_interrupted(tmp_path / "out")
    with directory_written_aside(tmp_path / "out") as partial:
        fill(partial)
    assert contents(tmp_path / "out") == NEW
    assert set(contents(tmp_path / "theirs")) == {"commit.json", "new/config.json", "config.json"}


def test_what_makes_room_is_in_the_directory(tmp_path):
    fill(tmp_path, {"victim": "theirs", "out/config.json": "old"})
    with (
        pytest.raises(UserError, match=r"'\.\./victim' leads out of this directory"),
        directory_written_aside(tmp_path / "out", replaces=["config.json", "../victim"]) as partial,
    ):
        fill(partial)
    assert contents(tmp_path) == {"victim": "theirs", "out/config.json": "old"}


def test_a_full_disk(tmp_path):
    path = tmp_path / "made" / "out"
    message = f"^{path}: File too large; make room or choose another place$"
    with (
        largest_file(2000),
        pytest.raises(UserError, match=message),
        directory_written_aside(path) as partial,
    ):
        save_file({"a": torch.zeros(10_000)}, partial / "model")
    assert names(tmp_path) == []


def test_places_where_no_directory_can_be(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("old")
    long = tmp_path / ("n" * 256)
    messages = {
        tmp_path / "file" / "out": f"{tmp_path / 'file'}: Not a directory; a file is where a folder is meant",
        long: f"{long}: File name too long; choose a shorter name",
        tmp_path / "file": f"{tmp_path / 'file'} is not empty; give a new directory",
    }
    for path, message in messages.items():
        with pytest.raises(UserError, match=f"^{message}"):
            check_new_directory(path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for path in (tmp_path, tmp_path / "out"):
        with pytest.raises(
            UserError, match=f"^{tmp_path}: Permission denied; change its permissions or choose"
        ):
            check_new_directory(path)
    assert names(tmp_path) == ["file"]
