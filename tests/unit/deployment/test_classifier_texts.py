"""What a classifier is compared on: a file's texts, or the dev set of its training while that is there."""

from tiny_classification import LABELS, write_pairs, write_sst2

from cmlm_kd.deployment.classifier_texts import texts_of_training


def state(**settings):
    return {"cfg": {"task": settings}}


def test_the_dev_set_of_one_corpus(tmp_path):
    write_sst2(tmp_path / "data", dev=5)
    found = texts_of_training(state(data=str(tmp_path / "data"), corpus="SST-2"), None, LABELS)
    assert len(found.first) == 5 and found.second is None and found.truncate
    assert set(found.right) <= set(LABELS) and found.name == "the dev set of SST-2"


def test_the_dev_set_of_one_task_of_several(tmp_path):
    write_pairs(tmp_path / "STS-B", "STS-B", dev=4)
    settings = {"data": str(tmp_path), "corpora": "SST-2,STS-B"}
    found = texts_of_training(state(**settings), "STS-B", ())
    assert len(found.second) == 4 and 0 <= float(found.right[0]) <= 5
    assert texts_of_training(state(**settings), None, ()) is None
    assert texts_of_training(state(**settings, corpus_folder="STS-B=elsewhere"), "STS-B", ()) is None


def test_what_is_gone_or_another_file_by_now_is_not_compared(tmp_path):
    assert texts_of_training(state(data=str(tmp_path / "gone"), corpus="SST-2"), None, LABELS) is None
    (tmp_path / "dev.tsv").write_text("something else\n")
    assert texts_of_training(state(data=str(tmp_path), corpus="SST-2"), None, LABELS) is None
    assert texts_of_training({}, None, LABELS) is None
