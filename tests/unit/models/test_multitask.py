"""Students of several tasks: heads, answer networks, lists of candidates, and flags that name tasks."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_classification import make_tokenizer, write_bert

from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.data.classification.inputs import pad_batch
from cmlm_kd.data.classification.ranking import by_query, group_by_query, hold_out_queries, reciprocal_ranks
from cmlm_kd.data.classification.tasks import TaskFlags, main_metric, right_class, task_settings
from cmlm_kd.errors import UserError
from cmlm_kd.models.multitask import MultitaskClassifier, TaskHead, start_multitask
from cmlm_kd.models.san import SANSettings, StochasticAnswerNetwork

HEADS = (
    TaskHead("opinions", ("bad", "good")),
    TaskHead("entails", ("yes", "no", "maybe"), is_pair=True, san=True),
    TaskHead("similar", (), is_pair=True),
    TaskHead("answers", (), is_pair=True, is_ranking=True),
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("encoder") / "bert", labels=None, layers=2)


@pytest.fixture(scope="module")
def model(encoder):
    return start_multitask(str(encoder), HEADS, max_length=20).eval()


def batch_of(model):
    encoded = model.inputs.encode(["good film", "the plot was dull"], ["a film", "acting"])
    return pad_batch(encoded, model.inputs.pad)


# -- the model ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "width"), [("opinions", 2), ("entails", 3), ("similar", 1), ("answers", 1)])
def test_each_task_has_its_head(model, task, width):
    assert model(**batch_of(model), task=task).logits.shape == (2, width)
    assert model.for_task(task).labels == model.tasks[task].labels


def test_the_encoder_is_shared_and_stored_once(model):
    weights = model.state_dict()
    assert sum(name.endswith("word_embeddings.weight") for name in weights) == 1
    assert {name.split(".")[1] for name in weights if name.startswith("heads.")} == {h.name for h in HEADS}
    model(**batch_of(model), task="similar").logits.sum().backward()
    assert model.encoder.embeddings.word_embeddings.weight.grad is not None
    assert all(parameter.grad is None for parameter in model.heads["opinions"].parameters())
    model.zero_grad()


def test_a_copy_has_an_encoder_of_its_own(model):
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.encoder.parameters():
            parameter.zero_()
    batch = batch_of(model)
    before, after = (m(**batch, task="opinions").logits for m in (model, other))
    assert (before[0] - before[1]).abs().max() > 1e-4
    torch.testing.assert_close(after[0], after[1])


def test_rebuilding_without_data(model):
    again = MultitaskClassifier.from_state(model.state_of_architecture(), make_tokenizer(), 20)
    again.load_state_dict(model.state_dict())
    assert again.tasks == model.tasks
    for task in model.tasks:
        torch.testing.assert_close(
            again.eval()(**batch_of(model), task=task).logits, model(**batch_of(model), task=task).logits
        )


@pytest.mark.parametrize("task", ["opinions", "similar", "answers"])
def test_a_task_as_an_ordinary_classifier(model, task):
    whole = model.for_task(task).to_sequence_classifier()
    torch.testing.assert_close(whole(**batch_of(model)).logits, model(**batch_of(model), task=task).logits)


def test_what_a_task_cannot_be(model):
    with pytest.raises(UserError, match="the head of entails is an answer network"):
        model.for_task("entails").to_sequence_classifier()
    with pytest.raises(UserError, match="no task 'opinion'; did you mean opinions"):
        model.for_task("opinion")
    with pytest.raises(UserError, match="has several tasks; name one of them with --task: opinions, entails"):
        model.for_task(None)
    with pytest.raises(UserError, match="--san-heads is for pairs of sentences with classes, x has no pairs"):
        TaskHead("x", ("a", "b"), san=True)
    with pytest.raises(UserError, match="cannot be called 'keys'"):
        TaskHead("keys", ("a", "b"))


# -- answer networks ------------------------------------------------------------------------------------


def naive_answer(network, states, first, second):
    """The equations for one pair, position by position."""
    hypothesis, premise = (states[[i for i, real in enumerate(mask) if real]] for mask in (second, first))
    weights = torch.stack([network.summary(row)[0] for row in hypothesis]).softmax(0)
    state = sum(weight * row for weight, row in zip(weights, hypothesis, strict=True))
    answers = []
    for _ in range(network.settings.turns):
        query = network.query(state)
        weights = torch.stack([query @ row for row in premise]).softmax(0)
        read = sum(weight * row for weight, row in zip(weights, premise, strict=True))
        state = network.memory(read[None], state[None])[0]
        seen = torch.cat([state, read, (state - read).abs(), state * read])
        answers.append(network.answer(seen).softmax(-1))
    return sum(answers) / len(answers)


def test_an_answer_network_against_its_equations():
    torch.manual_seed(3)
    network = StochasticAnswerNetwork(6, 3, SANSettings(turns=4)).eval()
    states = torch.randn(2, 7, 6)
    first = torch.tensor([[1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]]).bool()
    second = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0]]).bool()
    answers = network(states, first, second)
    expected = torch.stack([naive_answer(network, *row) for row in zip(states, first, second, strict=True)])
    torch.testing.assert_close(answers.exp(), expected)
    states[1, 4:] = 9.0  # padding
    torch.testing.assert_close(network(states, first, second), answers)


def test_training_leaves_out_turns_but_never_all():
    torch.manual_seed(3)
    network = StochasticAnswerNetwork(6, 3, SANSettings(turns=3, dropout=0.9)).train()
    states, half = torch.randn(50, 4, 6), torch.tensor([[1, 1, 0, 0]]).expand(50, 4).bool()
    answers = network(states, half, ~half)
    assert answers.isfinite().all() and not torch.equal(answers, network(states, half, ~half))
    torch.testing.assert_close(answers.exp().sum(-1), torch.ones(50))
    answers[:, 0].sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("settings", [{"turns": 0}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_settings_of_answer_networks_have_ranges(settings):
    with pytest.raises(UserError, match=r"--san-(turns|dropout) is"):
        SANSettings(**settings)


# -- ranking --------------------------------------------------------------------------------------------


def questions(names, classes):
    target = np.array([("right", "wrong").index(name) for name in classes])
    return Examples(names, [f"answer {i}" for i in range(len(names))], target, ("right", "wrong"), "here.tsv")


def test_candidates_of_a_query():
    names = ["a", "b", "a", "c", "d", "d", "e", "b", "a"]
    classes = ["wrong", "right", "right", "right", "right", "right", "wrong", "wrong", "wrong"]
    queries = group_by_query(questions(names, classes), "right")
    assert [rows.tolist() for rows in queries.rows] == [[0, 2, 8], [1, 7]]  # c and e are alone, d has two
    assert queries.relevant.tolist() == [1, 0] and queries.left_out == 4
    with pytest.raises(UserError, match=r"here.tsv: no first sentence comes with several second ones"):
        group_by_query(questions(["a", "b"], ["right", "wrong"]), "right")


def test_a_query_is_held_out_with_all_its_candidates():
    examples = questions(list("abcabcdd"), ["right", "wrong"] * 4)
    kept, held = hold_out_queries(examples, 0.5, seed=3)
    assert len(set(held.first)) == len(set(kept.first)) == 2 and not set(held.first) & set(kept.first)
    assert sorted(kept.second + held.second) == sorted(examples.second)
    again = hold_out_queries(examples, 0.5, seed=3)[1]
    assert again.second == held.second and again.target.tolist() == held.target.tolist()


def test_scores_by_query():
    scores = torch.tensor([[1.0], [3.0], [2.0], [5.0], [5.0]], requires_grad=True)
    lists = by_query(scores, torch.tensor([3, 2]))
    assert lists.shape == (2, 3) and lists[0].tolist() == [1.0, 3.0, 2.0] and lists[1, 2] == -1e30
    assert reciprocal_ranks(lists, torch.tensor([2, 0])).tolist() == [0.5, 0.5]  # equals rank last
    assert reciprocal_ranks(lists, torch.tensor([1, 0]))[0] == 1
    torch.nn.functional.cross_entropy(lists, torch.tensor([1, 0])).backward()
    assert scores.grad.isfinite().all() and scores.grad.abs().sum() > 0


def test_a_score_that_is_no_number_is_never_the_best():
    ranks = reciprocal_ranks(torch.tensor([[float("nan"), 0.0], [0.0, float("nan")]]), torch.tensor([0, 0]))
    assert ranks.tolist() == [0.5, 0.5]


# -- flags ----------------------------------------------------------------------------------------------


def test_settings_of_tasks():
    flags = TaskFlags(
        "SST-2,topics,QNLI",
        corpus_format="topics=text",
        corpus_folder="topics=agnews",
        ranking="QNLI",
        teacher="SST-2=a:b,QNLI=c",
        labels="topics=World:Sports",
        train_file="SST-2=more.tsv",
    )
    first, topics, ranked = task_settings(Path("data"), flags)
    assert first.folder == Path("data/SST-2") and first.teachers == ("a", "b") and first.ranks is None
    assert first.train_file == "more.tsv" and not topics.train_file
    assert topics.folder == Path("data/agnews") and topics.reading.corpus == "text"
    assert topics.reading.labels == ("World", "Sports") and topics.teachers == ()
    assert ranked.ranks == "" and right_class("QNLI", "", ("entailment", "no")) == "entailment"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"corpora": ""}, "--corpora names no task"),
        ({"corpora": "SST-2,RTE,SST-2"}, "--corpora names SST-2 twice"),
        ({"corpora": "SST2"}, "SST2, which is no published corpus; did you mean SST-2"),
        ({"corpora": "a/b"}, "'a/b' is no name"),
        ({"corpora": "RTE", "teacher": "RTF=x"}, "--teacher names 'RTF', .*tasks are RTE; did you mean RTE"),
        ({"corpora": "RTE", "teacher": "SST-2=x"}, "--teacher names 'SST-2', which is not trained here"),
        ({"corpora": "RTE", "teacher": "RTE=x,RTE=y"}, "--teacher names RTE twice"),
        ({"corpora": "RTE", "teacher": "RTE"}, "--teacher has no value for RTE; write RTE=VALUE"),
        ({"corpora": "mine", "corpus_format": "mine=txt"}, "mine=txt: known are .*did you mean text"),
        ({"corpora": "mine,RTE", "corpus_format": "mine=text", "regression": "mine=1"}, "takes names alone"),
    ],
)
def test_flags_that_make_no_sense(flags, message):
    with pytest.raises(UserError, match=message):
        task_settings(Path("data"), TaskFlags(**flags))


def test_a_ranking_task_must_have_the_class():
    with pytest.raises(UserError, match=r"--ranking mine=entailment: mine has no class .*'0', '1'"):
        right_class("mine", "", ("0", "1"))


def test_what_a_task_is_known_by():
    assert main_metric("CoLA", ("a", "b"), False) == "matthews"
    assert main_metric("text", ("a", "b"), False) == "accuracy"
    assert main_metric("text", (), False) == "pearson" and main_metric("QNLI", (), True) == "top1"
