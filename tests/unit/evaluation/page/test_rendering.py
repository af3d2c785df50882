"""The frame of all pages: nothing from outside, no script but the page's own."""

import base64
import hashlib
import re

import pytest
from report_pages import Elements, write_run_page

from cmlm_kd.evaluation.page import rendering


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return write_run_page(tmp_path_factory.mktemp("page")).read_text(encoding="utf-8")


def test_the_policy_names_the_one_script_and_the_one_style(html):
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for tag, kind in (("style", "style-src"), ("script", "script-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} &#39;sha256-{digest}&#39;" in policy or f"{kind} 'sha256-{digest}'" in policy


def test_nothing_is_asked_of_a_network(html):
    attributes = [own for _, own in Elements(html).tags]
    places = [own[name] for own in attributes for name in ("src", "href", "action") if name in own]
    assert places and all(place.startswith("#") or place == "data:," for place in places)
    assert not re.findall(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", html)


def test_a_number_that_json_has_no_word_for_is_no_data(monkeypatch):
    with pytest.raises(ValueError):
        rendering._environment().from_string("{{ value | tojson }}").render(value=float("nan"))


def test_equal_values_give_equal_pages(tmp_path, html):
    assert write_run_page(tmp_path).read_text(encoding="utf-8") == html
