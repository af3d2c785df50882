"""``ct2-fairseq-converter --user_dir``: what CTranslate2 converts wrongly is refused before it does."""

from __future__ import annotations

import functools
import sys
from typing import Any

from cmlm_kd.fairseq_files.conversion import check_convertible

_CONVERTER = "ctranslate2.converters.fairseq"


def check_conversions() -> None:
    """Look at the settings of a model that CTranslate2's converter, which is importing us, asks about."""
    converter = sys.modules.get(_CONVERTER)
    describe = getattr(converter, "_get_model_spec", None)
    if converter is None or describe is None:
        return

    @functools.wraps(describe)
    def describe_checked(args: Any) -> Any:
        check_convertible(vars(args) if hasattr(args, "__dict__") else dict(args), "the student")
        return describe(args)

    converter._get_model_spec = describe_checked  # type: ignore[attr-defined]
