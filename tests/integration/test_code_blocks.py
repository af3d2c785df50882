"""What the pages show in blocks is valid: every command parses, Python compiles, YAML and TOML load.

Most commands are also run by other tests (``test_documented_commands.py`` says by which). Here are all of
them, those included that need what no test has, and every call of ``cmlm-kd`` within a sentence.
"""

import ast
import re
import tomllib
from itertools import takewhile
from pathlib import Path

import pytest
import yaml
from documentation import PAGES, REPOSITORY, blocks, commands
from fairseq import options

from cmlm_kd.cli import build_parser, main

SHELL = {"|", "||", "&&", "&", ";", ">", ">>", "<", "2>"}
INLINE = re.compile(r"`cmlm-kd ([^`]+)`")
ELLIPSIS = "..."
"""Stands for flags that a page has left out."""
FAIRSEQ = {
    "fairseq-train": options.get_training_parser,
    "fairseq-generate": options.get_generation_parser,
    "fairseq-interactive": options.get_interactive_generation_parser,
}
ABOUT = [page for page in PAGES if page.name != "CHANGELOG.md"]
"""Pages about what is there today; changes may name a flag that has gone since."""


@pytest.fixture(scope="module")
def parser():
    return build_parser()


def subparsers(parser):
    (action,) = (action for action in parser._actions if hasattr(action, "choices") and action.choices)
    return action.choices


def arguments_of(program, words):
    """Return what stands behind a program, to the end of its part of the line; None if it is not called."""
    if program not in words:
        return None
    return list(takewhile(lambda word: word not in SHELL, words[words.index(program) + 1 :]))


def parses(parse, words):
    try:
        parse(words)
    except SystemExit as ending:
        return not ending.code
    return True


@pytest.mark.parametrize("page", ABOUT, ids=str)
def test_calls_of_our_commands_parse(page, parser, capsys):
    for words in commands(page, indented=True):
        given = arguments_of("cmlm-kd", words)
        if given is not None and ELLIPSIS not in given:
            assert parses(parser.parse_args, given), f"{' '.join(words)}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("page", ABOUT, ids=str)
def test_commands_and_flags_within_sentences_are_there(page, parser):
    known = subparsers(parser)
    for text in INLINE.findall((REPOSITORY / page).read_text(encoding="utf-8")):
        name, *words = text.split()
        if name in ("COMMAND", "--help", "--version", ELLIPSIS):
            continue
        assert name in known, f"cmlm-kd {text}"
        flags = [word.partition("=")[0] for word in words if word.startswith("--")]
        assert set(flags) <= {*known[name]._option_string_actions}, f"cmlm-kd {text}"


def test_calls_of_fairseq_parse(monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    for page in ABOUT:
        for words in commands(page, indented=True):
            program = next((name for name in FAIRSEQ if name in words), None)
            given = arguments_of(program, words) if program else None
            if given is None or ELLIPSIS in given or "examples/new_criterion" in given:
                continue  # that example is a user directory of its own, which its own test imports
            parse = FAIRSEQ[program]()
            assert parses(lambda flags, parse=parse: options.parse_args_and_arch(parse, flags), given), (
                f"{page}: {' '.join(words)}\n{capsys.readouterr().err}"
            )


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_blocks_in_other_languages_are_valid(page):
    for program in blocks(page, "python"):
        ast.parse(program)
    for text in blocks(page, "toml"):
        tomllib.loads(text)
    for text in blocks(page, "yaml"):
        assert yaml.safe_load(text)
    for text in blocks(page, "bibtex"):
        assert text.startswith("@") and text.count("{") == text.count("}")


def test_the_recipe_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (recipe,) = (text for text in blocks("docs/recipes.md", "yaml") if "steps:" in text)
    Path("words.yaml").write_text(recipe, encoding="utf-8")
    Path("book.txt").write_text("a b a\n", encoding="utf-8")
    assert main(["run", "words.yaml", "--set", "text=book.txt"]) == 0
    assert Path("runs/words/counts").read_text().split() == ["2", "a", "1", "b"]
