"""A translator's inside on disk: as online wherever padding stands, whole, and of these pairs or refused."""

import dataclasses
import json
import pickle
import re
import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch
from disk import largest_file

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ATTENTION_SCORES, HIDDEN_STATES, Request
from cmlm_kd.api.next_tokens import NextTokens, NextTokenTeacher
from cmlm_kd.api.sources import TeacherBatch
from cmlm_kd.errors import UserError
from cmlm_kd.system.files import directory_written_aside, file_sha256
from cmlm_kd.teachers.online import OnlineTeacher
from cmlm_kd.teachers.state_cache import open_states, verify_states
from cmlm_kd.teachers.state_files import StatesIdentity
from cmlm_kd.teachers.state_writer import TrainingPairs, write_states

PAD, VOCABULARY, WIDTH, HEADS, K = 1, 11, 3, 2, 4
REQUEST = Request(
    hidden_states=(1, 2),
    attention_scores=(2,),
    cross_attention_scores=(1, 2),
    encoder=Request(hidden_states=(0, 3), attention_scores=(3,)),
    topk=K,
)
Usage = namedtuple("Usage", "total used free")


def random_pairs(count=23, seed=0):
    generator = np.random.default_rng(seed)
    return [
        tuple(generator.integers(2, VOCABULARY, size) for size in generator.integers(1, 9, 2))
        for _ in range(count)
    ]


PAIRS = random_pairs()


class Shown(NextTokenTeacher):
    """Its states are numbers of a token, its scores numbers of two; padding gives numbers too."""

    kind, name = "table", "tables"

    def __init__(self, seed=0, longest=99):
        generator = torch.Generator().manual_seed(seed)
        self.states = torch.randn(5, VOCABULARY, WIDTH, generator=generator)
        self.scores = torch.randn(5, HEADS, VOCABULARY, VOCABULARY, generator=generator)
        self.logits = torch.randn(VOCABULARY, VOCABULARY, generator=generator)
        self.seed, self.longest, self.asked = seed, longest, []

    @property
    def hash(self):
        return f"{self.seed}" * 64

    def readable(self, pairs):
        return pairs.lengths[0] <= self.longest

    def next_tokens(self, pairs):
        pytest.fail("a cache is made of what look_inside gives, in one forward pass")

    def look_inside(self, inputs, real, request):
        source, target = inputs["src_tokens"], inputs["prev_output_tokens"]
        self.asked.append(source.shape)

        def layers(wanted, rows, columns):
            heads = self.scores.permute(0, 2, 3, 1)  # (layers, V, V, h)
            return {n: heads[n][rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2) for n in wanted}

        encoder = ModelOutput(
            hidden_states={n: self.states[n][source] for n in request.encoder.hidden_states},
            attention_scores=layers(request.encoder.attention_scores, source, source),
            attention_mask=source.ne(PAD),
        )
        output = ModelOutput(
            hidden_states={n: self.states[n][target] for n in request.hidden_states},
            attention_scores=layers(request.attention_scores, target, target),
            cross_attention_scores=layers(request.cross_attention_scores, target, source),
            encoder=encoder,
        )
        return output, None if request.predictions == "none" else NextTokens(
            self.logits[target[real]].clone()
        )


def pad(sentences, left, width=0):
    width = max(width, *map(len, sentences))
    result = torch.full((len(sentences), width), PAD)
    for row, sentence in zip(result, sentences, strict=True):
        place = slice(width - len(sentence), None) if left else slice(len(sentence))
        row[place] = torch.from_numpy(sentence)
    return result


def batch_of(rows, pairs=PAIRS, left=(True, False), width=0):
    sources, targets = (pad([pairs[row][side] for row in rows], left[side], width) for side in (0, 1))
    inputs = {"src_tokens": sources, "prev_output_tokens": targets}
    return TeacherBatch(torch.tensor(rows), inputs, targets, PAD)


def online(teacher, temperatures=(1.0, 10.0)):
    return OnlineTeacher(teacher, VOCABULARY, temperatures)


def write(path, request=REQUEST, teacher=None, pairs=PAIRS):
    teacher = teacher or Shown()
    # As fairseq does, a batch has its pairs in another order than they were asked for.
    asked = TrainingPairs.of(pairs, teacher.readable, lambda rows: batch_of(rows[::-1], pairs))
    identity = StatesIdentity.of(asked.digest, len(pairs), teacher.hash, "float32", request, K)
    source = online(teacher)
    full = dataclasses.replace(identity, tail_temperatures=[1.0, 10.0] if identity.topk else [])
    write_states(path, source, asked, request, full)
    return identity


def numbers(signal):
    """Everything in a signal by name, padding too."""
    output, soft = signal.only_output, signal.soft_targets
    found = {"mask": output.encoder.attention_mask}
    for half, kept in (("encoder", output.encoder), ("decoder", output)):
        for kind in ("hidden_states", "attention_scores", "cross_attention_scores"):
            found.update({f"{half} {kind} {n}": tensor for n, tensor in getattr(kept, kind).items()})
    if soft is not None:
        found.update({name: getattr(soft, name) for name in ("ids", "logits", "tail", "valid")})
    return found


def real_parts(name, tensor, batch):
    """The part of a tensor at real positions."""
    source, target = batch.inputs["src_tokens"].ne(PAD), batch.target.ne(PAD)
    if name.startswith("encoder") or name == "mask":
        rows = columns = source
    else:
        rows, columns = target, source if "cross" in name else target
    if "scores" in name:
        return tensor.permute(0, 2, 3, 1)[rows[:, :, None] & columns[:, None, :]]
    return tensor[rows]


@pytest.mark.parametrize("left", [(True, False), (False, True)])
@pytest.mark.parametrize("predictions", ["masked", "none"])
def test_a_cache_says_what_the_teacher_says(tmp_path, left, predictions):
    request = dataclasses.replace(REQUEST, predictions=predictions)
    cache = open_states(tmp_path / "c", write(tmp_path / "c", request))
    batch = batch_of([7, 0, 22, 7, 13], left=left, width=12)
    found, wanted = numbers(cache.signal(batch, request)), numbers(online(Shown()).signal(batch, request))
    assert found.keys() == wanted.keys() and ("ids" in found) == (predictions == "masked")
    for name, tensor in found.items():
        assert tensor.dtype == wanted[name].dtype and tensor.shape == wanted[name].shape
        inside = real_parts(name, tensor, batch)
        torch.testing.assert_close(inside, real_parts(name, wanted[name], batch), rtol=0, atol=1e-6, msg=name)
        assert tensor.sum() == pytest.approx(float(inside.sum()), abs=1e-4)  # and 0 elsewhere
    assert cache.by_row and cache.rows == 23
    assert {HIDDEN_STATES, ATTENTION_SCORES} < cache.description.provides
    assert (cache.description.layers, cache.description.topk) == (2, K if predictions == "masked" else 0)


def test_fewer_layers_and_entries_than_there_are(tmp_path):
    identity = write(tmp_path / "c")
    request = Request(hidden_states=(2,), encoder=Request(attention_scores=(3,)), topk=2)
    wanted = StatesIdentity.of(identity.corpus, 23, identity.teacher, "float32", request, 2)
    batch = batch_of([3, 5])
    found = open_states(tmp_path / "c", wanted).signal(batch, request)
    theirs = online(Shown()).signal(batch, request)
    assert numbers(found).keys() == numbers(theirs).keys()
    assert torch.equal(found.soft_targets.ids, theirs.soft_targets.ids)
    real = batch.target.ne(PAD)
    torch.testing.assert_close(found.soft_targets.tail[real], theirs.soft_targets.tail[real])
    silent = dataclasses.replace(request, predictions="none")
    assert open_states(tmp_path / "c", wanted).signal(batch, silent).soft_targets is None


def test_another_process_maps_the_files_itself(tmp_path):
    cache = open_states(tmp_path / "c", write(tmp_path / "c"))
    packed = pickle.dumps(cache)
    assert len(packed) < 2000
    batch = batch_of([1, 2])
    for ours, theirs in zip(
        numbers(pickle.loads(packed).signal(batch, REQUEST)).values(),
        numbers(cache.signal(batch, REQUEST)).values(),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_pairs_that_the_teacher_cannot_read_are_left_out(tmp_path):
    teacher = Shown(longest=6)
    cache = open_states(tmp_path / "c", write(tmp_path / "c", teacher=teacher))
    assert max(shape[1] for shape in teacher.asked) == 6
    long = next(row for row, (source, _) in enumerate(PAIRS) if len(source) > 6)
    short = next(row for row, (source, _) in enumerate(PAIRS) if len(source) <= 6)
    cache.signal(batch_of([short]), REQUEST)
    with pytest.raises(UserError, match=rf"has nothing of pair {long}, which is longer .* --max-source-pos"):
        cache.signal(batch_of([short, long]), REQUEST)
    with pytest.raises(UserError, match="reads none of 23 pairs"):
        write(tmp_path / "none", teacher=Shown(longest=0))
    assert not (tmp_path / "none").exists()


def test_a_pair_of_another_length_is_refused(tmp_path):
    cache = open_states(tmp_path / "c", write(tmp_path / "c"))
    other = [(np.append(source, 5), target) for source, target in PAIRS]
    with pytest.raises(
        UserError, match=r"source tokens of pair 4, .* other data; give another --teacher-cache"
    ):
        cache.signal(batch_of([4], other), REQUEST)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": "c" * 64}, "another corpus: it has .*, this run cccccccccccc"),
        ({"teacher": "1" * 64}, "another teacher: it has 000000000000, this run 111111111111"),
        ({"precision": "bfloat16"}, "another precision: it has float32, this run bfloat16"),
        ({"encoder_states": [0, 1]}, r"the encoder's hidden states of layers \[0, 3\], not of \[1\]"),
        ({"decoder_scores": [1, 2]}, r"the decoder's attention scores of layers \[2\], not of \[1\]"),
        ({"cross_scores": [4]}, r"the cross-attention scores of layers \[1, 2\], not of \[4\]"),
        ({"tail_temperatures": [3.0]}, r"the tails at temperatures \[1.0, 10.0\], not of \[3.0\]"),
        ({"topk": 5}, "has the 4 best entries of each token, this training reads 5; lower --kd-topk"),
    ],
)
def test_another_cache_is_refused_with_both_named(tmp_path, change, message):
    identity = write(tmp_path / "c")
    with pytest.raises(UserError, match=message) as refused:
        open_states(tmp_path / "c", dataclasses.replace(identity, **change))
    assert "give another --teacher-cache" in str(refused.value) and "computed again" in str(refused.value)


def test_pairs_cut_elsewhere_or_reordered_are_another_corpus():
    def digest(pairs):
        return TrainingPairs.of(pairs, Shown().readable, None).digest

    one, two = (np.array([3, 4]), np.array([5])), (np.array([6]), np.array([7, 8]))
    cut = [(np.array([3]), np.array([5])), (np.array([4, 6]), np.array([7, 8]))]
    assert len({digest(pairs) for pairs in ([one, two], [two, one], cut, [one])}) == 4


# -- damage -----------------------------------------------------------------------------------------------


def note_again(path):
    """Give the manifest the right checksums of what is there now, as a careful hand would."""
    manifest = json.loads((path / "manifest.json").read_text())
    for name, record in manifest["files"].items():
        record["sha256"] = file_sha256(path / name)
    del manifest["manifest_sha256"]
    (path / "manifest.json").write_text(json.dumps(manifest))


def refused_by_both(path, identity):
    found = []
    for read in (lambda: open_states(path, identity), lambda: verify_states(path)):
        with pytest.raises(UserError) as refused:
            read()
        found.append(str(refused.value))
    assert all("will be computed again" in message for message in found)
    return found[0]


@pytest.mark.parametrize(
    "name", ["order.npy", "target-lengths.npy", "encoder-hidden-3.npy", "cross-attention-1.npy", "tail.npy"]
)
def test_a_changed_byte_is_found(tmp_path, name):
    identity = write(tmp_path / "c")
    content = bytearray((tmp_path / "c" / name).read_bytes())
    content[-3] ^= 1
    (tmp_path / "c" / name).write_bytes(content)
    assert f"{name} is not what the manifest says" in refused_by_both(tmp_path / "c", identity)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("order.npy", lambda array: array * 0, "no order of rows"),
        ("order.npy", lambda array: array + 1, "no order of rows"),
        ("order.npy", lambda array: array[:0], "[0], the manifest says [23]"),
        ("encoder-hidden-0.npy", lambda array: array[:-1], "it should be float32 of"),
        ("cross-attention-2.npy", lambda array: array[:-1], "the manifest says"),
        ("logits.npy", lambda array: array.astype(np.float64), "float64 of shape"),
        ("tail.npy", lambda array: array * np.nan, "a number that is not finite in row 0"),
    ],
)
def test_arrays_of_other_shapes_types_or_numbers(tmp_path, name, change, reason):
    identity = write(tmp_path / "c")
    np.save(tmp_path / "c" / name, change(np.load(tmp_path / "c" / name)))
    note_again(tmp_path / "c")
    message = refused_by_both(tmp_path / "c", identity)
    assert reason in message and name in message


def test_scores_that_do_not_fit_the_pairs(tmp_path):
    identity = write(tmp_path / "c")
    place = tmp_path / "c" / "decoder-attention-2.npy"
    np.save(place, np.load(place)[:-1])
    note_again(tmp_path / "c")
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    manifest["files"][place.name]["shape"][0] -= 1
    (tmp_path / "c" / "manifest.json").write_text(json.dumps(manifest))
    assert "its size is not that of the pairs" in refused_by_both(tmp_path / "c", identity)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m["files"].pop("ids.npy"), "names no ids.npy"),
        (lambda m: m["identity"].update(pairs="23"), 'identity.pairs is "23"'),
        (lambda m: m["identity"].update(encoder_states=[0.5]), "identity.encoder_states"),
    ],
)
def test_manifests_of_other_contents(tmp_path, change, reason):
    identity = write(tmp_path / "c")
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    change(manifest)
    (tmp_path / "c" / "manifest.json").write_text(json.dumps(manifest))
    assert "something in it was changed" in refused_by_both(tmp_path / "c", identity) or "identity" in reason
    del manifest["manifest_sha256"]
    (tmp_path / "c" / "manifest.json").write_text(json.dumps(manifest))
    assert reason in refused_by_both(tmp_path / "c", identity)


def test_what_is_no_cache_is_left_alone(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and no cache"):
        write(tmp_path / "c")
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["notes.txt"]
    (tmp_path / "c" / "manifest.json").write_text(json.dumps({"format": "cmlm-kd-teacher-outputs"}))
    with pytest.raises(UserError, match="is no cache of a translator's states"):
        verify_states(tmp_path / "c")


# -- the disk ---------------------------------------------------------------------------------------------


def test_a_disk_without_room_is_found_out_before_the_second_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10, 9, 1000))
    monkeypatch.setattr("cmlm_kd.teachers.state_writer.MAX_TOKENS", 20)
    teacher = Shown()
    with pytest.raises(UserError) as refused:
        write(tmp_path / "c", teacher=teacher)
    message = re.escape(str(tmp_path)) + r".* would take 0\.\d\d GB, .* room for 0\.00 GB; name fewer layers"
    assert re.search(message, str(refused.value))
    assert len(teacher.asked) == 1 and not list(tmp_path.iterdir())


def test_the_size_is_said_before_anything_is_written(tmp_path, caplog):
    caplog.set_level("INFO")
    write(tmp_path / "c")
    said = int(re.search(r"(\d+) bytes per pair", caplog.text)[1])
    source, target = np.mean([[len(s), len(t)] for s, t in PAIRS], axis=0)
    squares = np.mean([[len(s) ** 2, len(t) ** 2, len(s) * len(t)] for s, t in PAIRS], axis=0)
    scores = squares @ (1, 1, 2)
    assert said == int(4 * (2 * WIDTH * (source + target) + HEADS * scores + target * (2 * K + 2)))


def test_a_disk_that_fills_up(tmp_path):
    with largest_file(700), pytest.raises(UserError, match="make room or choose another place"):
        write(tmp_path / "c")
    assert not list(tmp_path.iterdir())


def test_a_second_process_is_refused_before_its_teacher_is_asked(tmp_path):
    teacher = Shown()
    with directory_written_aside(tmp_path / "c") as partial:
        (partial / "manifest.json").write_text("{}")
        with pytest.raises(UserError, match=r"^another process is writing"):
            write(tmp_path / "c", teacher=teacher)
    assert not teacher.asked


def test_a_teacher_that_gives_no_number_is_named_with_the_pair(tmp_path):
    teacher = Shown()
    rare = int(PAIRS[9][0][0])
    teacher.states[3, rare] = float("inf")
    with pytest.raises(
        UserError, match=r"tables gives what is no finite number for pair \d+ \(encoder-hidden-3"
    ):
        write(tmp_path / "c", teacher=teacher)
    assert not list(tmp_path.iterdir())
