"""From data and a template to a page that needs nothing else: style, script and data are part of it."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from cmlm_kd.version import __version__

_STYLE = "page.css"
_COMMON_SCRIPT = "page.js"


def render(name: str, **values: Any) -> str:
    """Return a page as HTML; equal values give equal text.

    Args:
        name: of the template ``NAME.html.j2``, which the script ``NAME.js`` belongs to.
        values: what the template names. Strings are escaped, whatever they hold.

    Raises:
        ValueError: a number is not finite, which JSON has no word for.
    """
    environment = _environment()
    style, script = _source(_STYLE), f"{_source(_COMMON_SCRIPT)}\n{_source(f'{name}.js')}"
    return environment.get_template(f"{name}.html.j2").render(
        values,
        style=Markup(style),  # ours, and no user's
        style_hash=_policy_hash(style),
        script=Markup(script),
        script_hash=_policy_hash(script),
        version=__version__,
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cmlm_kd.evaluation.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {
        "allow_nan": False,
        "ensure_ascii": False,
        "separators": (",", ":"),
        "sort_keys": False,
    }
    return environment


def _source(name: str) -> str:
    """Return a file of the templates' folder as it is."""
    environment = _environment()
    loader = environment.loader
    if loader is None:
        raise LookupError(name)
    return loader.get_source(environment, name)[0]


def _policy_hash(text: str) -> str:
    """Return what a Content-Security-Policy calls a style or script of the page's own."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
