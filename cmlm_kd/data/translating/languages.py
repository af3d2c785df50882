"""Which language a sentence is in, by py3langid, an optional package."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from cmlm_kd.errors import UserError


def language_identifier(language: str) -> Callable[[str], str]:
    """Return a function from a sentence to a code of two letters.

    Args:
        language: code that it must know.

    Raises:
        UserError: the package is missing, or does not know the language.
    """
    identifier = _identifier()
    if language not in identifier.labels:
        raise UserError(
            f"--filter language: py3langid does not know {language!r}; it knows "
            f"{', '.join(sorted(identifier.labels))}"
        )
    return lambda text: str(identifier.classify(text)[0])


@cache
def _identifier() -> Any:
    """Return the package's own identifier; reading its model takes seconds."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise UserError(
            "--filter language needs the package py3langid; run: pip install 'cmlm-kd[language]', or leave "
            "the filter out"
        ) from None
    return LanguageIdentifier.from_model_file(MODEL_FILE)
