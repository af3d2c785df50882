"""The root logger after a body that has set it up."""

import logging

import pytest

from cmlm_kd.system.root_logger import root_logger_kept


@pytest.mark.parametrize("fails", [False, True])
def test_level_and_handlers_are_those_of_before(fails):
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    try:
        with root_logger_kept():
            root.addHandler(logging.NullHandler())
            root.setLevel(logging.DEBUG)
            if fails:
                raise ImportError
    except ImportError:
        pass
    assert (root.level, list(root.handlers)) == before
