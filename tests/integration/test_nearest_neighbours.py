"""cmlm-kd dump --teacher knn=CHECKPOINT: a store of what followed the nearest states."""

import numpy as np
import pytest
import torch
from fairseq_runs import TINY_STUDENT
from tiny_corpus import VOCABULARY
from tiny_next_tokens import train_translator, write_data

from cmlm_kd.api.next_tokens import Pairs, TeacherOptions, TranslationData
from cmlm_kd.cli import main
from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.store import SoftTargetStore
from cmlm_kd.teachers.kinds import load_teachers


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    root = tmp_path_factory.mktemp("neighbours")
    train_translator(root / "model", write_data(root / "data"), model=TINY_STUDENT)
    return root


def dump(road, output, teacher):
    flags = ["--teacher", teacher, "--output", str(output), "--topk", "6"]
    return main(["dump", str(road / "data"), *flags])


def test_a_store_of_neighbours(road, tmp_path):
    checkpoint = road / "model" / "checkpoint_last.pt"
    assert dump(road, tmp_path / "store", f"knn={checkpoint}:6:0.5") == 0
    store = SoftTargetStore.open(tmp_path / "store")
    translator = load_teachers(
        [str(checkpoint)], TranslationData(road / "data", "de", "en", VOCABULARY), TeacherOptions()
    )
    sides = [Databin.open(road / "data" / f"train.de-en.{language}") for language in ("de", "en")]
    states = [translator.states(Pairs([source], [target])) for source, target in zip(*sides, strict=True)]
    keys, values = torch.cat(states), np.concatenate([np.asarray(target) for target in sides[1]])
    ids, logits, _ = store[4]
    for state, row, said in zip(states[4], ids, logits, strict=True):
        distances = (keys - state).square().sum(1)
        near = distances.argsort()[:6]
        weights = (-distances[near] / 0.5).softmax(0)
        wanted = np.zeros(VOCABULARY)
        np.add.at(wanted, values[near.numpy()], weights.numpy())
        kept = said > -1e4  # entries without mass have the lowest number there is
        np.testing.assert_allclose(np.exp(said[kept].astype(float)), wanted[row[kept]], atol=3e-3)
        assert wanted[row[kept]].sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{}:0", "neighbours is 0; it must be at least 1"),
        ("{}:4:0", "temperature is 0.0; it must be above 0"),
        ("{}:four", "give knn=CHECKPOINT, or with neighbours and temperature"),
        ("{}:100000", "the number of neighbours"),
        ("nowhere.pt", "nowhere.pt"),
    ],
)
def test_what_makes_no_sense_is_refused(road, tmp_path, capsys, given, message):
    teacher = "knn=" + given.format(road / "model" / "checkpoint_last.pt")
    assert dump(road, tmp_path / "store", teacher) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "store").exists()
