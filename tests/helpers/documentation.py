"""What the project's pages tell people to type."""

import re
import shlex
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def blocks(page, language):
    """Return the fenced blocks of a page, such as ``README.md``, that are in ``language``."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(page):
    """Return the shell commands of a page, each as its words, comments left out."""
    lines = "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    split = (shlex.split(line, comments=True) for line in lines)
    return [words for words in split if words]
