"""Files that appear whole or not at all: links, devices, permissions, locks, kills and full disks."""

import os
import re
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from disk import killed, largest_file, names, umask
from safetensors.torch import save_file

from cmlm_kd.errors import UserError
from cmlm_kd.system import directories, files
from cmlm_kd.system.aside import partial_of
from cmlm_kd.system.files import (
    check_file_place,
    check_new_file,
    check_room,
    directory_written_aside,
    file_name,
    written_aside,
    written_together,
)


def write(path, text="new"):
    with written_aside(path) as partial:
        partial.write_text(text)


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_there_at_the_end_and_not_before(tmp_path):
    path = tmp_path / "made" / "too" / "file"
    with written_aside(path) as partial:
        partial.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new" and names(path.parent) == ["file"]


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path):
    write(tmp_path / "file", "old")
    for path in (tmp_path / "file", tmp_path / "made" / "too" / "file"):
        with pytest.raises(KeyError), written_aside(path) as partial:
            partial.write_text("half")
            raise KeyError
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_permissions_of_the_umask(tmp_path, mask):
    with umask(mask), written_aside(tmp_path / "file") as partial:
        save_file({"a": torch.zeros(1)}, partial)  # leaves 0600
    assert permissions(tmp_path / "file") == 0o666 & ~mask


def test_a_file_that_is_replaced_hands_on_its_permissions(tmp_path):
    write(tmp_path / "file", "old")
    (tmp_path / "file").chmod(0o640)
    write(tmp_path / "file")
    assert permissions(tmp_path / "file") == 0o640 and (tmp_path / "file").read_text() == "new"


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link_and_what_it_leads_to_is_written(tmp_path, there):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    if there:
        target.write_text("old")
    link.symlink_to(os.path.join("elsewhere", "target"))
    write(link)
    assert os.readlink(link) == os.path.join("elsewhere", "target") and target.read_text() == "new"
    assert names(tmp_path) == ["elsewhere", "link"] and names(tmp_path / "elsewhere") == ["target"]


def test_a_pipe_and_a_device_are_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write(pipe, "through")
    reader.join()
    assert read == ["through"] and stat.S_ISFIFO(pipe.stat().st_mode)
    write(Path("/dev/null"))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(UserError, match=r"^/dev/full: No space left on device; make room or choose"):
        write(Path("/dev/full"))


def test_standard_output_is_what_the_shell_made_of_it(tmp_path):
    code = (
        "from pathlib import Path; from cmlm_kd.system.files import written_aside\n"
        "with written_aside(Path('/dev/stdout')) as partial: partial.write_text('new')"
    )
    (tmp_path / "out").write_text("before ")
    with (tmp_path / "out").open("ab") as output:
        subprocess.run([sys.executable, "-c", code], stdout=output, check=True)
    assert (tmp_path / "out").read_text() == "before new" and names(tmp_path) == ["out"]


def test_two_processes_do_not_write_the_same_file(tmp_path):
    path = tmp_path / "file"
    with written_aside(path) as partial:
        partial.write_text("mine")
        with pytest.raises(UserError, match=f"^another process is writing {path}; wait for it or choose"):
            write(path, "yours")
    assert path.read_text() == "mine" and names(tmp_path) == ["file"]
    write(path, "yours")
    assert path.read_text() == "yours"


def test_what_a_killed_run_leaves_the_next_one_removes(tmp_path):
    path = tmp_path / "file"
    killed("written_aside", "partial.write_text('half of it, and longer')", path)
    assert names(tmp_path) == [partial_of(path).name]
    write(path)
    assert names(tmp_path) == ["file"] and path.read_text() == "new"


def test_what_goes_on_finds_what_an_interrupted_run_wrote(tmp_path):
    path = tmp_path / "made" / "file"
    with pytest.raises(KeyError), written_aside(path, goes_on=True) as partial:
        partial.write_text("first ")
        raise KeyError
    with written_aside(path, goes_on=True) as partial, partial.open("a") as file:
        file.write("second")
    assert path.read_text() == "first second" and names(path.parent) == ["file"]


def test_files_that_belong_together_appear_all_or_none(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    with pytest.raises(KeyError), written_together():
        for path in paths:
            write(path)
        assert not [path for path in paths if path.exists()]
        raise KeyError
    assert names(tmp_path) == []
    with written_together():
        for path in paths:
            write(path)
    write(tmp_path / "d")  # appears at once again
    assert names(tmp_path) == ["a", "b", "c", "d"]


@pytest.fixture
def interrupted_after(monkeypatch):
    """Return a function that lets a Ctrl-C come whenever a function of a module has done its work."""

    def interrupt(module, name):
        original = getattr(module, name)

        def and_interrupted(*arguments, **keywords):
            result = original(*arguments, **keywords)
            signal.raise_signal(signal.SIGINT)
            return result

        monkeypatch.setattr(module, name, and_interrupted)

    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield interrupt
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, former)


def test_an_interruption_waits_until_all_that_belongs_together_is_there(tmp_path, interrupted_after):
    interrupted_after(os, "replace")
    with pytest.raises(KeyboardInterrupt), written_together():
        write(tmp_path / "a")
        write(tmp_path / "b")
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("moment", ["hold_file", "partial_of", "settle_file"])
def test_an_interruption_leaves_no_partial_file(tmp_path, interrupted_after, moment):
    interrupted_after(files, moment)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "file")
    assert names(tmp_path) == []


@pytest.mark.parametrize("moment", ["hold_directory", "settle"])
def test_an_interruption_leaves_no_partial_directory(tmp_path, interrupted_after, moment):
    interrupted_after(directories, moment)
    with pytest.raises(KeyboardInterrupt), directory_written_aside(tmp_path / "out") as partial:
        (partial / "a").write_text("new")
    assert names(tmp_path) == []


@pytest.mark.parametrize(("moment", "left"), [("settle", []), ("_begin_commit", ["a", "b"])])
def test_an_interruption_leaves_a_directory_that_was_there_as_it_was_or_filled(
    tmp_path, interrupted_after, moment, left
):
    interrupted_after(directories, moment)
    with pytest.raises(KeyboardInterrupt), directory_written_aside(tmp_path, manifest="b") as partial:
        for name in ("a", "b"):
            (partial / name).write_text("new")
    assert names(tmp_path) == left


def by_torch(partial):
    with partial.open("wb") as file:
        torch.save({"a": torch.zeros(10_000)}, file)


WRITERS = {
    "text": lambda partial: partial.write_text("x" * 10_000),
    "numpy": lambda partial: np.zeros(10_000).tofile(partial),
    "safetensors": lambda partial: save_file({"a": torch.zeros(10_000)}, partial),
    "torch": by_torch,
}


@pytest.mark.parametrize("library", WRITERS)
def test_a_full_disk_is_one_line_whatever_library_meets_it(tmp_path, library):
    write(tmp_path / "file", "old")
    message = (
        f"^{tmp_path / 'file'}: (File too large|Only a part could be written); make room or choose anothe"
    )
    with (
        largest_file(2000),
        pytest.raises(UserError, match=message),
        written_aside(tmp_path / "file") as partial,
    ):
        WRITERS[library](partial)
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    message = f"^{tmp_path / 'input'}: No such file or directory; check the path$"
    with pytest.raises(UserError, match=message), written_aside(tmp_path / "file"):
        (tmp_path / "input").read_text()


def refusals(tmp_path):
    (tmp_path / "file").write_text("old")
    long = tmp_path / ("n" * 256)
    return {
        tmp_path: f"{tmp_path}: Is a directory; a folder is where a file is meant: name a file",
        tmp_path / "file" / "below": f"{tmp_path / 'file'}.*: Not a directory; a file is where a folder is",
        tmp_path
        / "file"
        / "far"
        / "below": f"{tmp_path / 'file'}.*: Not a directory; a file is where a folde",
        long: f"{long}: File name too long; choose a shorter name",
    }


def test_places_where_no_file_can_be(tmp_path):
    for path, message in refusals(tmp_path).items():
        for refuse in (check_file_place, lambda path: check_new_file(path, "remedy"), write):
            with pytest.raises(UserError, match=f"^{message}"):
                refuse(path)
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"
    with pytest.raises(UserError, match=r"^/proc/new: No such file or directory; check the path"):
        write(Path("/proc/new"))


def test_places_that_must_not_be_written(tmp_path, monkeypatch):
    """As a user meets them: root may write everywhere."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    (tmp_path / "file").write_text("old")
    for path, named in ((tmp_path / "file", tmp_path / "file"), (tmp_path / "a" / "new", tmp_path)):
        with pytest.raises(UserError, match=f"^{named}: Permission denied; change its permissions or choose"):
            check_file_place(path)
    with pytest.raises(UserError, match=f"^{tmp_path / 'file'}: Permission denied"):
        write(tmp_path / "file")
    check_file_place(None)


def test_a_file_where_no_other_may_be_is_filled_in_place(tmp_path, monkeypatch):
    """A file that is mounted into a container: it can be written, but nothing beside it."""
    path = tmp_path / "file"
    path.write_text("old, and longer")
    node = path.stat().st_ino
    monkeypatch.setattr(os, "access", lambda place, mode: os.fspath(place) == str(path))
    check_file_place(path)
    write(path)
    assert path.read_text() == "new" and path.stat().st_ino == node and names(tmp_path) == ["file"]


def test_a_name_as_long_as_the_file_system_takes(tmp_path):
    write(tmp_path / ("n" * 255))
    assert names(tmp_path) == ["n" * 255]


def test_names_that_become_files():
    assert file_name("--model", "Schüler@1 (best)") == "Schüler@1 (best)"
    for name in ("../outside", "/tmp/x", "a/b", "", ".", ".."):
        message = f"--model {name!r}: a file gets this name, and it must not be a path; leave out '/'"
        with pytest.raises(UserError, match=re.escape(message)):
            file_name("--model", name)
    for name in ("a\nb", "a\0", "a\tb", "\x1b[1mbold"):
        with pytest.raises(UserError, match="a file gets this name; leave out what is no visible character"):
            file_name("--model", name)
    with pytest.raises(UserError, match="a file gets this name of 201 bytes; give one of at most 200"):
        file_name("--model", "n" * 201)


def test_what_a_disk_has_no_room_for_is_refused_with_both_sizes(tmp_path):
    check_room(tmp_path / "made" / "file", 1000, "make room")
    message = (
        rf"^cache: {tmp_path}/made/file would take 10,.* GB, and {tmp_path} has room for .* GB; make room$"
    )
    with pytest.raises(UserError, match=message):
        check_room(tmp_path / "made" / "file", 10**19, "make room", owner="cache: ")
    assert names(tmp_path) == []
