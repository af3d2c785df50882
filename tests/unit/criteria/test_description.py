"""Settings in words: what ``cmlm-kd flags`` prints and the pages of docs/criteria have in their tables."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from documentation import load_script

from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.cli import main
from cmlm_kd.criteria import load_criteria
from cmlm_kd.criteria.description import Flag, flags_of
from cmlm_kd.system.ranges import SHARE, setting

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs" / "criteria").glob("*.md"))

load_criteria()
OWN = [name for name in kd_criteria if kd_criteria.get(name).cls.__module__.startswith("cmlm_kd.")]


@pytest.fixture(scope="module")
def writer():
    return load_script("scripts/write_criterion_pages.py")


@dataclass
class Example:
    kd_share: float = field(default=500.0, metadata=setting("a weight; 0: nothing", SHARE))
    kd_mode: Literal["a", "b"] = field(default="b", metadata=setting("how"))
    kd_switch: bool = field(default=False, metadata={"help": "whether"})
    kd_count: int | None = None


def test_flags_of_a_config():
    assert flags_of(Example) == [
        Flag("--kd-share", (), "500", "in [0, 1]", "a weight, in [0, 1]; 0: nothing", "a weight; 0: nothing"),
        Flag("--kd-mode", ("a", "b"), "b", "", "how", "how"),
        Flag("--kd-switch", (), "off", "", "whether", "whether"),
        Flag("--kd-count", (), "none", "", "", ""),
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_up_to_date(writer, page):
    text = page.read_text(encoding="utf-8")
    assert writer.up_to_date(text) == text, "run: python scripts/write_criterion_pages.py"


@pytest.mark.parametrize("name", OWN)
def test_a_page_has_the_settings_and_the_citation(name):
    page = (ROOT / "docs" / "criteria" / f"{name}.md").read_text(encoding="utf-8")
    assert f"<!-- written: citation {name} -->" in page
    assert (f"<!-- written: settings {name} -->" in page) is bool(flags_of(kd_criteria.get(name).config))


def test_a_changed_setting_makes_a_page_out_of_date(writer, tmp_path, monkeypatch, capsys):
    page = tmp_path / "pkd.md"
    page.write_text("# pkd\n\n<!-- written: settings pkd -->\nold\n<!-- end -->\n", encoding="utf-8")
    monkeypatch.setattr(writer, "PAGES", tmp_path)
    monkeypatch.setattr("sys.argv", ["write", "--check"])
    assert writer.main() == 1 and "out of date: pkd.md" in capsys.readouterr().out
    assert "old" in page.read_text()
    monkeypatch.setattr("sys.argv", ["write"])
    assert writer.main() == 0 and "| `--kd-alpha` | `0.7` | [0, 1] |" in page.read_text()


@pytest.mark.parametrize("name", OWN)
def test_the_command_shows_every_flag_and_what_to_cite(name, capsys):
    main(["flags", name])
    shown, entry = capsys.readouterr().out, kd_criteria.get(name)
    assert all(f"{flag.name}" in shown for flag in flags_of(entry.config))
    assert shown.endswith(entry.cls.citation) and entry.cls.citation.startswith("@")
    assert entry.cls.citation.count("{") == entry.cls.citation.count("}")
