"""Teachers' outputs, computed once: the same as online, and of this corpus and these teachers or refused."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from disk import largest_file
from tiny_classification import LABELS, sentences, write_bert

from cmlm_kd.api.needs import Needs, Request
from cmlm_kd.api.sources import TeacherBatch
from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.data.classification.inputs import EncodedExamples
from cmlm_kd.errors import UserError
from cmlm_kd.system.files import directory_written_aside, file_sha256
from cmlm_kd.teachers.cache import (
    CacheIdentity,
    TeacherCache,
    check_cacheable,
    open_cache,
    verify_cache,
    write_cache,
)
from cmlm_kd.teachers.ensemble import TeacherEnsemble

NEEDS = Needs(Request((1,), first_position=True), Request((2, 3), first_position=True))
LOGITS = Needs(teacher=Request())
EXAMPLES = Examples([text for text, _ in sentences(150, 5)], None, None, LABELS, "train.tsv")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("teachers")
    return [write_bert(root / "a"), write_bert(root / "b", labels=LABELS[::-1], seed=1)]


def load(*folders, ensembling="probabilities"):
    return TeacherEnsemble.load([str(folder) for folder in folders], LABELS, ensembling=ensembling)


def write(path, teachers, needs=NEEDS, examples=EXAMPLES):
    identity = CacheIdentity.of(teachers, examples, needs, "float32")
    write_cache(path, teachers, examples, needs, identity)
    return identity


def rows_of(rows):
    return TeacherBatch(torch.tensor(rows))


def online(teachers, rows, needs):
    batches = [EncodedExamples(EXAMPLES, member.model.inputs).collate(rows) for member in teachers.members]
    batch = TeacherBatch(torch.tensor(rows), other_inputs=dict(enumerate(batches)))
    return teachers.signal(batch, needs.teacher)


def test_a_cache_says_what_the_teacher_says(folders, tmp_path):
    teachers, rows = load(folders[0]), [7, 140, 3, 3]
    cached = open_cache(tmp_path / "c", write(tmp_path / "c", teachers), "probabilities").signal(
        rows_of(rows)
    )
    wanted = online(teachers, rows, NEEDS)
    torch.testing.assert_close(cached.logits, wanted.logits)
    assert sorted(cached.hidden_states) == [2, 3]
    for layer in (2, 3):
        torch.testing.assert_close(cached.hidden_states[layer], wanted.hidden_states[layer])


@pytest.mark.parametrize("ensembling", ["probabilities", "logits"])
def test_an_ensemble(folders, tmp_path, ensembling):
    teachers, rows = load(*folders, ensembling=ensembling), [0, 9, 149]
    cached = open_cache(tmp_path / "c", write(tmp_path / "c", teachers, LOGITS), ensembling).signal(
        rows_of(rows)
    )
    torch.testing.assert_close(cached.probabilities(5.0), online(teachers, rows, LOGITS).probabilities(5.0))
    swapped = load(folders[1])
    torch.testing.assert_close(cached.members[1], online(swapped, rows, LOGITS).logits)


def test_what_an_ensemble_says_in_a_line():
    """Means of (.9 .1) and (.7 .3), of (.2 .8) twice, and of (.5 .5) and (.3 .7)."""
    first, second = ([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], [[0.7, 0.3], [0.2, 0.8], [0.3, 0.7]])
    logits = [np.log(np.array(probs, np.float32)) for probs in (first, second)]
    examples = Examples(["a", "b", "c"], None, np.array([0, 1, 0]), ("no", "yes"), "x")
    doubt = np.mean([-sum(p * np.log2(p) for p in (q, 1 - q)) for q in (0.8, 0.2, 0.4)])
    said = f"the teachers say no 33.3 %, yes 66.7 %, with {doubt:.2f} bits of doubt an example"
    cache = TeacherCache(logits, {}, "probabilities")
    assert cache.summary(examples) == said + "; of 66.7 % what the label says"
    assert cache.summary(dataclasses.replace(examples, target=None)) == said


def test_more_layers_than_needed_are_welcome_and_less_are_refused(folders, tmp_path):
    teachers = load(folders[0])
    identity = write(tmp_path / "c", teachers)
    fewer = dataclasses.replace(identity, hidden_states=[3])
    assert sorted(open_cache(tmp_path / "c", fewer, "logits").signal(rows_of([0])).hidden_states) == [3]
    with pytest.raises(
        UserError, match=r"has the hidden states of layers \[2, 3\], not of \[1\]; give another"
    ):
        open_cache(tmp_path / "c", dataclasses.replace(identity, hidden_states=[1, 2]), "logits")


def test_another_corpus_or_teacher_is_refused_with_both_named(folders, tmp_path):
    teachers = load(folders[0])
    identity = write(tmp_path / "c", teachers, LOGITS)
    other = CacheIdentity.of(load(folders[1]), EXAMPLES, LOGITS, "float32")
    with pytest.raises(UserError) as refused:
        open_cache(tmp_path / "c", other, "probabilities")
    for wanted in (identity.teachers[0]["model"], other.teachers[0]["model"]):
        assert f"model {wanted[:12]}" in str(refused.value)
    shorter = CacheIdentity.of(teachers, EXAMPLES.select(range(149)), LOGITS, "float32")
    with pytest.raises(
        UserError, match=f"another corpus: it has {identity.corpus[:12]}, this run {shorter.corpus[:12]}"
    ):
        open_cache(tmp_path / "c", shorter, "probabilities")
    with pytest.raises(UserError, match="another precision: it has float32, this run bfloat16"):
        open_cache(tmp_path / "c", dataclasses.replace(identity, precision="bfloat16"), "probabilities")


def test_a_changed_byte_is_found(folders, tmp_path):
    identity = write(tmp_path / "c", load(folders[0]))
    path = tmp_path / "c" / "hidden-2.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"hidden-2.npy is not what the manifest says.*remove the directory"):
        open_cache(tmp_path / "c", identity, "probabilities")


def note_again(path):
    """Give the manifest the right checksums of what is there now, as a careful hand would."""
    manifest = json.loads((path / "manifest.json").read_text())
    for name, record in manifest["files"].items():
        record["sha256"] = file_sha256(path / name)
    (path / "manifest.json").write_text(
        json.dumps({key: value for key, value in manifest.items() if key != "manifest_sha256"})
    )


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((150, 3), np.float32), "float32 of shape (150, 3), it should be float32 of (150, 2)"),
        (np.zeros((149, 2), np.float32), "float32 of shape (149, 2), it should be"),
        (np.zeros((150, 2), np.float64), "float64 of shape (150, 2), it should be"),
        (np.zeros((150, 2), object), "no array: "),
        (np.full((150, 2), np.nan, np.float32), "has a number that is not finite in row 0"),
        (np.full((150, 2), np.inf, np.float32), "has a number that is not finite in row 0"),
    ],
)
def test_arrays_of_other_shapes_types_or_numbers(folders, tmp_path, array, reason):
    identity = write(tmp_path / "c", load(folders[0]), LOGITS)
    np.save(tmp_path / "c" / "logits-0.npy", array, allow_pickle=True)
    note_again(tmp_path / "c")
    for read in (
        lambda: open_cache(tmp_path / "c", identity, "logits"),
        lambda: verify_cache(tmp_path / "c"),
    ):
        with pytest.raises(UserError) as refused:
            read()
        assert reason in str(refused.value) and "logits-0.npy" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m["files"].clear(), "names no logits-0.npy"),
        (lambda m: m.pop("files"), "files is missing"),
        (lambda m: m.update(identity=[]), "identity is [], it should be an object"),
        (
            lambda m: m["identity"].update(examples="150"),
            'identity.examples is "150"',
        ),
        (lambda m: m["files"]["logits-0.npy"].update(shape=[150, 3]), "the manifest says [150, 3]"),
    ],
)
def test_manifests_of_other_contents(folders, tmp_path, change, reason):
    identity = write(tmp_path / "c", load(folders[0]), LOGITS)
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    change(manifest)
    sealed = json.dumps(manifest)
    del manifest["manifest_sha256"]
    for text, message in ((json.dumps(manifest), reason), (sealed, "")):
        (tmp_path / "c" / "manifest.json").write_text(text)
        with pytest.raises(UserError) as refused:
            open_cache(tmp_path / "c", identity, "logits")
        assert message in str(refused.value) and "will be computed again" in str(refused.value)
        with pytest.raises(UserError, match=re.escape(message)):
            verify_cache(tmp_path / "c")


def test_what_is_no_cache_is_left_alone(folders, tmp_path):
    teachers = load(folders[0])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and no cache"):
        write(tmp_path / "c", teachers)
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["notes.txt"]
    (tmp_path / "c" / "manifest.json").write_text(json.dumps({"format": "cmlm-kd-soft-targets"}))
    with pytest.raises(UserError, match="is no cache of teacher outputs"):
        open_cache(tmp_path / "c", CacheIdentity.of(teachers, EXAMPLES, LOGITS, "float32"), "logits")


def test_a_full_disk(folders, tmp_path):
    message = f"^{tmp_path / 'c'}: Only a part could be written; make room or choose another place"
    with largest_file(500), pytest.raises(UserError, match=message):
        write(tmp_path / "c", load(folders[0]))
    assert not list(tmp_path.iterdir())


def test_a_second_process_is_refused_before_its_teachers_are_asked(folders, tmp_path, monkeypatch):
    teachers = load(folders[0])
    with directory_written_aside(tmp_path / "c") as partial:
        (partial / "manifest.json").write_text("{}")
        monkeypatch.setattr(teachers, "signal", None)
        with pytest.raises(UserError, match=r"^another process is writing"):
            write(tmp_path / "c", teachers)


def test_a_teacher_that_gives_no_number_is_named_and_nothing_is_written(tmp_path):
    teachers = load(write_bert(tmp_path / "broken"))
    with torch.no_grad():
        teachers.members[0].model.model.classifier.bias[1] = float("nan")
    with pytest.raises(
        UserError, match=r"teacher .*broken gives \[.*nan\] for train.tsv, row \d+: .*cmlm-kd evaluate"
    ):
        write(tmp_path / "c", teachers, LOGITS)
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_what_cannot_be_cached():
    with pytest.raises(
        UserError, match="tiny_kd reads the teacher at every position, so leave out --teacher-cache"
    ):
        check_cacheable("tiny_kd", Needs(teacher=Request((1,))))
    with pytest.raises(UserError, match=r"runs with dropout.*leave out --teacher-cache"):
        check_cacheable("tiny_kd", Needs(teacher=Request(), teacher_dropout=True))
    check_cacheable("pkd", NEEDS)
