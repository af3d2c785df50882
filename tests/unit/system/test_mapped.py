"""Pages of mapped files that are given back."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa

from cmlm_kd.system.mapped import let_go


def resident(path):
    """Return how much of a file is mapped into this process, in kB."""
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    return sum(int(re.search(r"^Rss: +(\d+)", part, re.MULTILINE)[1]) for part in parts if str(path) in part)


def test_pages_go_and_come_back(tmp_path):
    path = tmp_path / "file"
    values = np.arange(1 << 18)
    values.tofile(path)
    mapped = pa.memory_map(str(path)).read_buffer()
    view = np.frombuffer(mapped, np.int64)
    assert view.sum() == values.sum() and resident(path) == 2048
    let_go(mapped)
    assert resident(path) == 0
    assert view[7] == 7 and np.array_equal(view, values)
