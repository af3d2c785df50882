"""What the project's pages tell people to type, and the scripts that write them."""

import importlib.util
import re
import shlex
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(REPOSITORY)
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md")
    for path in REPOSITORY.glob(pattern)
)
"""Every page, relative to the repository."""


def load_script(path):
    """Return a Python file of the repository, such as ``docs/conf.py``, as a module of its own."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, REPOSITORY / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(page, language):
    """Return the fenced blocks of a page, such as ``README.md``, that are in ``language``."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(page, indented=False):
    """Return the shell commands of a page, each as its words, comments left out.

    Those of fenced blocks; with ``indented`` also those of blocks that are marked by their indentation alone.
    """
    text = "".join(blocks(page, "bash"))
    if indented:
        whole = (REPOSITORY / page).read_text(encoding="utf-8")
        text += "".join(re.findall(r"^    (?:cmlm-kd|fairseq-\w+) (?:.*\\\n)*.*\n", whole, re.MULTILINE))
    text = text.replace("\\\n", " ").replace("$(cmlm-kd user-dir)", "fairseq_plugins")
    split = (shlex.split(line, comments=True) for line in text.splitlines())
    return [words for words in split if words]
