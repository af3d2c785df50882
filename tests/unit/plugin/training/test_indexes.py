import gc

import numpy as np
import pytest
from fairseq.data.indexed_dataset import MMapIndexedDataset
from tiny_store import flip_bit

import fairseq_plugins  # noqa: F401  (what it does is tested)
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import write_databin


def test_a_damaged_index_is_refused_where_fairseq_opens_it(tmp_path, recwarn):
    (tmp_path / "prepare.json").touch()
    rows = [np.array([4, 5, 2]), np.array([6, 2])]
    write_databin(tmp_path / "train", rows, 10)
    assert [row.tolist() for row in MMapIndexedDataset(str(tmp_path / "train"))] == [[4, 5, 2], [6, 2]]
    flip_bit(tmp_path / "train.idx", -8)  # the second sentence's place
    with pytest.raises(UserError, match=r"train\.idx is damaged \(sentence 1 begins at byte 7"):
        MMapIndexedDataset(str(tmp_path / "train"))
    gc.collect()
    assert not [warning for warning in recwarn if "unraisable" in str(warning.category).lower()]


def test_an_id_without_an_entry_is_refused_whoever_wrote_the_data(tmp_path):
    """Data of fairseq-preprocess have no manifest that says how many entries there are."""
    (tmp_path / "dict.en.txt").write_text("a 1\nb 1\n")  # and fairseq's four
    write_databin(tmp_path / "train.de-en.en", [np.array([4, 5, 2]), np.array([6, 2])], 10)
    rows = MMapIndexedDataset(str(tmp_path / "train.de-en.en"))
    assert rows[0].tolist() == [4, 5, 2]
    with pytest.raises(UserError, match=r"\.en\.bin is damaged \(sentence 1 has id 6, .* 6 entries\)"):
        rows[1]
