"""examples/translation/controls.py: soft targets without knowledge, as sure as a teacher's."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tiny_dump import dump, small, write_road

from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.store import SoftTargetStore

PLACE = Path(__file__).parents[2] / "examples" / "translation" / "controls.py"
SPECIFICATION = importlib.util.spec_from_file_location("controls", PLACE)
controls = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(controls)


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    root = write_road(tmp_path_factory.mktemp("controls"))
    assert dump(root, root / "store", *small()) == 0
    for kind in ("random", "even"):
        controls.write(root / "store", root / "data", "train", kind, root / kind)
    return root


def rows(road, name):
    """Return tokens, log-masses of the k entries and the tail, and the references, of all rows."""
    store, target = SoftTargetStore.open(road / name), Databin.open(road / "data" / "train.de-en.en")
    kept = [row for row in range(len(store)) if store[row] is not None]
    ids = np.concatenate([store[row].ids for row in kept]).astype(int)  # (tokens, k)
    logits = np.concatenate([store[row].logits for row in kept])  # (tokens, k)
    tail = np.concatenate([store[row].tail for row in kept])[:, :1]  # (tokens, 1)
    masses = np.concatenate([logits, tail], axis=1, dtype=float)  # (tokens, k + 1)
    return ids, masses, np.concatenate([target[row] for row in kept])


def test_random_tokens_have_the_teachers_probabilities(road):
    ids, masses, references = rows(road, "store")
    made, kept, _ = rows(road, "random")
    np.testing.assert_array_equal(kept, masses)
    is_reference = ids == references[:, None]
    np.testing.assert_array_equal(made[is_reference], ids[is_reference])
    assert (made == references[:, None]).sum() == is_reference.sum()
    assert (made[~is_reference] != ids[~is_reference]).mean() > 0.5  # few of so small a vocabulary are alike
    assert all(len({*row}) == len(row) for row in made)


def test_even_tokens_have_the_teachers_entropy(road):
    _, masses, references = rows(road, "store")
    made, even, _ = rows(road, "even")
    np.testing.assert_array_equal(made[:, 0], references)
    assert (made[:, 1:] != references[:, None]).all() and (np.ptp(even[:, 1:-1], axis=1) == 0).all()
    wanted, found = controls.entropy(masses), controls.entropy(even)
    possible = wanted < np.log(made.shape[1])  # k entries can be no more unsure than that
    np.testing.assert_allclose(found[possible], wanted[possible], atol=5e-3)  # float16
    assert possible.mean() > 0.5


def test_they_belong_to_the_data_and_have_another_name(road):
    header = SoftTargetStore.open(road / "store").manifest.header
    for kind in ("random", "even"):
        made = SoftTargetStore.open(road / kind, checksums=True).manifest.header
        assert made.teacher_hash != header.teacher_hash and made.corpus_hash == header.corpus_hash
        assert made.settings["teacher_kind"] == f"control ({kind} tokens) of a C-MLM"
