"""The ``cmlm-kd`` command: its help, and what it makes of errors that are nobody's bug."""

import errno
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import pytest
from disk import largest_file

from cmlm_kd.cli import command_line, main, user_dir
from cmlm_kd.cli.command_line import COMMANDS, build_parser, command_modules
from cmlm_kd.errors import UserError


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
    with largest_file(10):
        assert main(score) == 2
    message = f"cmlm-kd score: {tmp_path / 'out'}: File too large; make room or choose another place\n"
    assert capsys.readouterr().err == message
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
    assert main(score) == 0


def test_a_full_disk_that_temporary_files_are_on(score, capsys, monkeypatch):
    """It was an import of some library that could not find "no such file"."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    with largest_file(0):
        assert main(score) == 2
    error = capsys.readouterr().err
    assert error.startswith("cmlm-kd score: No usable temporary directory found in ['/")
    assert error.endswith(
        ": they are full, or not to be written (see TMPDIR); make room or choose another place\n"
    )


def fail_with(monkeypatch, error):
    def run(arguments):
        raise error

    monkeypatch.setattr(user_dir, "run", run)


def test_a_place_that_must_not_be_written(monkeypatch, capsys):
    fail_with(monkeypatch, PermissionError(errno.EACCES, "Permission denied", "/mine"))
    assert main(["user-dir"]) == 2
    message = "cmlm-kd user-dir: /mine: Permission denied; change its permissions or choose another place\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("score --hypothesis x --reference x --chrf-word-order 99999999", "order 99999999: allowed are 0"),
        ("score --hypothesis x --reference x --paired-bs-n 1000000000", "1000000000 bootstrap samples: 1 to"),
        ("numbers-corpus x --pairs 1000000000", "--pairs is 1000000000, it must be from 1 to 10,000,000"),
        ("augment x --corpus text --output y --tagger os:listdir --iterations 999999", "from 1 to 10,000"),
        ("augment x --corpus text --output y --method mlm --model z --iterations 999999", "from 1 to 10,000"),
    ],
)
def test_absurd_numbers(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "train.tsv").write_text("a good film\t1\na bad film\t0\n")
    assert main(words.split()) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("said", ["", "Unable to allocate 14.6 TiB"])
def test_too_little_memory(monkeypatch, capsys, said):
    fail_with(monkeypatch, MemoryError(*([said] if said else [])))
    assert main(["user-dir"]) == 2
    more = f" ({said})" if said else ""
    assert capsys.readouterr().err == f"cmlm-kd user-dir: not enough memory{more}; ask for less at once\n"


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


def test_an_interruption_where_python_tries_a_folder_for_temporary_files(monkeypatch, capsys, tmp_path):
    """It leaves the file that it tries it with where Ctrl-C comes between making and removing it."""
    tried = []

    def unlink(path):
        signal.raise_signal(signal.SIGINT)
        remove(path)
        tried.append(path)

    remove = os.unlink
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile._os, "unlink", unlink)
    assert main(["user-dir"]) == 130
    assert tried and not os.listdir(tmp_path)
    assert capsys.readouterr().err == "cmlm-kd user-dir: interrupted\n"


def test_an_interruption_before_a_command_is_known(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "main", interrupted)
    with pytest.raises(SystemExit, match=r"^130$"):
        command_line.entry_point()
    assert capsys.readouterr().err == "cmlm-kd: interrupted\n"


def test_an_interruption_that_a_library_makes_another_error_of(monkeypatch, capsys):
    """As NumPy does where it is being imported."""

    def run(arguments):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise ImportError("numpy failed to import") from error

    monkeypatch.setattr(user_dir, "run", run)
    assert main(["user-dir"]) == 130
    assert capsys.readouterr().err == "cmlm-kd user-dir: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interruption_that_hits_the_end_of_an_object(monkeypatch, capsys):
    """There Python prints a traceback and goes on."""

    class Ending:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def run(arguments):
        ending = Ending()
        del ending
        time.sleep(30)

    monkeypatch.setattr(user_dir, "run", run)
    begun = time.monotonic()
    assert main(["user-dir"]) == 130 and time.monotonic() - begun < 20
    assert capsys.readouterr().err == "cmlm-kd user-dir: interrupted\n"


def started(*words, environment=None, **settings):
    command = [sys.executable, "-m", "cmlm_kd", *map(str, words)]
    return subprocess.run(command, env={**os.environ, **(environment or {})}, **settings)


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_full_disk_behind_standard_output(buffered):
    with open("/dev/full", "w") as full:
        done = started(
            "user-dir", stdout=full, stderr=subprocess.PIPE, environment={"PYTHONUNBUFFERED": buffered}
        )
    assert done.returncode == 2
    assert re.fullmatch(
        rb"cmlm-kd user-dir: (standard output: )?No space left on device; make room .*\n", done.stderr
    )


def test_text_is_utf8_whatever_the_locale(tmp_path):
    name = os.fsdecode("größe-".encode() + b"\xff")
    (tmp_path / name).write_text("Ein schönes Haus.\n", encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    words = ("score", "--hypothesis", tmp_path / name, "--reference", tmp_path / name, "--metrics", "bleu")
    printed = started(*words, environment=ascii_only, capture_output=True)
    written = started(*words, "--output", tmp_path / "out", environment=ascii_only, capture_output=True)
    assert printed.returncode == written.returncode == 0 and not printed.stderr + written.stderr
    assert os.fsencode(name) in printed.stdout and (tmp_path / "out").read_bytes() == printed.stdout


def test_which_commands_go_on_after_an_interruption():
    modules = command_modules()
    assert {name for name in modules if getattr(modules[name], "GOES_ON", False)} == {
        "dump",
        "fetch-multi30k",
        "merge",
        "run",
        "translate",
        "tune",
    }


def test_a_message_with_words_of_others_stays_one_line(monkeypatch, capsys):
    fail_with(monkeypatch, UserError("a\nb: Error(s) in x:\n\tsize\u2028mismatch; give two\n"))
    assert main(["user-dir"]) == 2
    assert capsys.readouterr().err == "cmlm-kd user-dir: a b: Error(s) in x: size mismatch; give two\n"
    fail_with(monkeypatch, UserError(f"a is {'long' * 10_000}; give two"))
    assert main(["user-dir"]) == 2
    told = capsys.readouterr().err
    assert (
        len(told) < 2100 and told.startswith("cmlm-kd user-dir: a is long") and told.endswith("; give two\n")
    )


def test_a_link_to_itself(tmp_path, capsys):
    (tmp_path / "recipe.yaml").symlink_to("recipe.yaml")
    assert main(["run", str(tmp_path / "recipe.yaml")]) == 2
    printed = capsys.readouterr().err
    assert f"{tmp_path / 'recipe.yaml'}: Too many levels of symbolic links; mend the link" in printed


def test_other_files_are_named_with_what_to_do(monkeypatch, capsys):
    fail_with(monkeypatch, FileNotFoundError(errno.ENOENT, "No such file or directory", "/mine"))
    assert main(["user-dir"]) == 2
    message = "cmlm-kd user-dir: /mine: No such file or directory; check the path\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    "error", [KeyError("k"), FileNotFoundError(errno.ENOENT, "No such file"), OSError("a library's")]
)
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
