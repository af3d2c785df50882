"""Which language a sentence is in, by py3langid, an optional package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from cmlm_kd.errors import UserError


def language_identifier(language: str | None) -> tuple[str, Callable[[str], str]]:
    """Return the package's code of a language, and a function from a sentence to such a code.

    Args:
        language: a code (``de``, ``de_DE``, ``deu_Latn``) or an English name (``German``).

    Raises:
        UserError: the package is missing, or does not know the language.
    """
    identifier = _identifier()
    known = sorted(identifier.labels)
    code = _code_among(known, language or "")
    if code is None:
        raise UserError(
            f"--filter language: py3langid does not know which language {language!r} is; say it by its own "
            f"code, language=CODE with one of {', '.join(known)}"
        )
    return code, lambda text: str(identifier.classify(text)[0])


def _code_among(known: Sequence[str], language: str) -> str | None:
    """Return the code, of those that are known, that means the same language; None where none does."""
    code = _codes_of_names().get(language.casefold(), language)
    code = code.replace("-", "_").partition("_")[0].lower()
    if code in known:
        return code
    return next((each for each in known if _canonical(each) == _canonical(code)), None)


def _canonical(code: str) -> str:
    """Return CLDR's own code of a language: ``de`` for ``deu``."""
    from babel.core import get_global

    return str(get_global("language_aliases").get(code, code)).partition("_")[0]


@cache
def _codes_of_names() -> dict[str, str]:
    """Return English name -> code."""
    from babel.core import Locale

    return {str(name).casefold(): str(code) for code, name in Locale("en").languages.items()}


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
