"""The ``cmlm-kd`` command: its help, and what it makes of errors that are nobody's bug."""

import errno
import io
import re
import resource
import subprocess
import sys

import pytest

from cmlm_kd.cli import main, user_dir
from cmlm_kd.cli.command_line import COMMANDS, build_parser, command_modules


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
        "translate",
    }


@pytest.mark.parametrize("error", [KeyError("k"), FileNotFoundError(errno.ENOENT, "No such file")])
def test_bugs_keep_their_traceback(monkeypatch, error):
    fail_with(monkeypatch, error)
    with pytest.raises(type(error)):
        main(["user-dir"])


def help_of(capsys, *command):
    with pytest.raises(SystemExit) as exit_:
        build_parser().parse_args([*command, "--help"])
    assert exit_.value.code == 0
    return capsys.readouterr().out


def test_the_help_groups_the_commands_by_the_road(capsys):
    text = help_of(capsys)
    assert re.findall(r"^(\w+):$", text, re.M)[:-1] == [
        *("Prepare", "Teach", "Distil", "Use", "Measure", "Tools")
    ]
    assert tuple(re.findall(r"^  ([a-z][\w-]+) ", text, re.M)) == sum(COMMANDS.values(), ())
    for name, module in command_modules().items():
        assert module.HELP in " ".join(text.split()), name


@pytest.mark.parametrize("name", command_modules())
def test_a_default_is_shown_only_where_there_is_one(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    text = help_of(capsys, name)
    shown = re.findall(r"\(default: ?(.*?)\)", text)
    assert all(value not in ("", "None", "False", "[]", "()") for value in shown), shown
    assert not re.search(r"default: .*\(default:", text)


def test_defaults_are_shown_as_they_are_typed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    text = help_of(capsys, "dump")
    assert re.search(r"--topk TOPK .*\(default: 8\)", text)
    assert "each above 0 (default: 1.0 10.0)" in text


def test_the_help_imports_nothing_heavy():
    script = (
        "import sys; from cmlm_kd.cli.command_line import build_parser; build_parser().format_help();"
        "print({'torch', 'transformers', 'numpy', 'pydantic'} & sys.modules.keys())"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "set()\n"
