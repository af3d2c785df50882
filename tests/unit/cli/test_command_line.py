"""What ``cmlm-kd`` makes of errors that are nobody's bug."""

import errno
import io
import resource

import pytest

from cmlm_kd.cli import main, user_dir
from cmlm_kd.cli.command_line import command_modules


@pytest.fixture
def score(tmp_path):
    (tmp_path / "text").write_text("A small house.\n")
    files = (
        "--hypothesis",
        tmp_path / "text",
        "--reference",
        tmp_path / "text",
        "--output",
        tmp_path / "out",
    )
    return ["score", *map(str, files)]


def test_a_full_disk_is_named_and_leaves_nothing_half_written(tmp_path, score, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        status = main(score)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 2
    assert capsys.readouterr().err == "cmlm-kd score: File too large; make room or choose another place\n"
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
    assert main(score) == 0


def fail_with(monkeypatch, error):
    def run(arguments):
        raise error

    monkeypatch.setattr(user_dir, "run", run)


def test_a_place_that_must_not_be_written(monkeypatch, capsys):
    fail_with(monkeypatch, PermissionError(errno.EACCES, "Permission denied", "/mine"))
    assert main(["user-dir"]) == 2
    message = "cmlm-kd user-dir: /mine: Permission denied; change its permissions or choose another place\n"
    assert capsys.readouterr().err == message


def test_a_reader_that_went_away_is_no_error(monkeypatch):
    fail_with(monkeypatch, BrokenPipeError(errno.EPIPE, "Broken pipe"))
    errors = io.StringIO()
    monkeypatch.setattr("sys.stderr", errors)
    assert main(["user-dir"]) == 141 and errors.closed


@pytest.mark.parametrize(
    ("goes_on", "message"),
    [(False, "interrupted"), (True, "interrupted; the same command goes on from there")],
)
def test_an_interruption_is_one_line(monkeypatch, capsys, goes_on, message):
    fail_with(monkeypatch, KeyboardInterrupt())
    monkeypatch.setattr(user_dir, "GOES_ON", goes_on, raising=False)
    assert main(["user-dir"]) == 130
    assert capsys.readouterr().err == f"cmlm-kd user-dir: {message}\n"


def test_which_commands_go_on_after_an_interruption():
    modules = command_modules()
    assert {name for name in modules if getattr(modules[name], "GOES_ON", False)} == {
        "dump",
        "fetch-multi30k",
        "run",
    }


@pytest.mark.parametrize("error", [KeyError("k"), FileNotFoundError(errno.ENOENT, "No such file")])
def test_bugs_keep_their_traceback(monkeypatch, error):
    fail_with(monkeypatch, error)
    with pytest.raises(type(error)):
        main(["user-dir"])
