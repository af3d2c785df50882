"""Rows that are longer than a batch: what is counted, whatever wraps a data set."""

import numpy as np
import pytest
from fairseq.data import BaseWrapperDataset
from fairseq_runs import TINY_STUDENT, build_task
from tiny_corpus import write_split

from cmlm_kd.errors import UserError
from fairseq_plugins.training.row_lengths import check_rows


class Wrapped(BaseWrapperDataset):
    """As fairseq's wrappers are: it counts the tokens of a row, and not of several."""


def test_wrapped_rows_are_counted_one_by_one(tmp_path):
    write_split(tmp_path, "valid", 6, seed=0)
    task, _ = build_task(tmp_path, "--task", "translation", *TINY_STUDENT)
    task.load_dataset("valid")
    task.datasets["valid"] = rows = Wrapped(task.dataset("valid"))
    with pytest.raises(NotImplementedError):
        rows.num_tokens_vec(np.arange(6))
    longest = max(rows.num_tokens(row) for row in range(6))
    check_rows(task, rows, longest, None, skips=False)
    with pytest.raises(
        UserError, match=rf"valid: \d of 6 rows .* {longest - 1}, the longest {longest}; pass"
    ):
        check_rows(task, rows, longest - 1, None, skips=False)
