"""Any sequence classifier as a teacher, and encoders' first layers as students."""

import json

import numpy as np
import pytest
import torch
from tiny_classification import LABELS, make_tokenizer, write_bert
from tiny_encoders import FAMILIES, make_config
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cmlm_kd.api.needs import HIDDEN_STATES, Request
from cmlm_kd.data.classification.class_order import class_order
from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.data.classification.inputs import EncodedExamples, HuggingFaceInputs
from cmlm_kd.errors import UserError
from cmlm_kd.models.bert import start_classifier
from cmlm_kd.models.classifier import load_classifier
from cmlm_kd.models.prediction import predict_logits
from cmlm_kd.teachers.ensemble import TeacherEnsemble

TEXTS = Examples(["the film was good", "awful", "a very dull plot and poor acting"], None, None, (), "t")
PAIRS = Examples(["the film", "a plot was fine"], ["was good", "dull"], None, (), "t")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("classifier") / "teacher")


def batch_of(classifier, examples=TEXTS):
    return EncodedExamples(examples, classifier.inputs).collate(range(len(examples)))


def test_a_classifier_says_what_hugging_face_says(teacher):
    classifier = load_classifier(str(teacher))
    model = AutoModelForSequenceClassification.from_pretrained(teacher).eval()
    tokens = AutoTokenizer.from_pretrained(teacher)(
        PAIRS.first, PAIRS.second, padding=True, return_tensors="pt", return_token_type_ids=True
    )
    batch = batch_of(classifier, PAIRS)
    assert torch.equal(batch["input_ids"], tokens["input_ids"])
    assert torch.equal(batch["token_type_ids"], tokens["token_type_ids"])
    with torch.no_grad():
        torch.testing.assert_close(classifier(**batch).logits, model(**tokens).logits)
    assert classifier.labels == LABELS and classifier.description.layers == 4


def test_only_what_is_asked_for_is_kept(teacher):
    classifier = load_classifier(str(teacher))
    batch = batch_of(classifier)
    plain = classifier(**batch)
    assert not plain.hidden_states and not plain.attention_scores
    asked = classifier(**batch, request=Request((0, 3), attention_scores=(2,)))
    assert {layer: tuple(states.shape) for layer, states in asked.hidden_states.items()} == {
        0: (3, 9, 16),
        3: (3, 9, 16),
    }
    assert tuple(asked.attention_scores[2].shape) == (3, 2, 9, 9)
    first = classifier(**batch, request=Request((3,), first_position=True))
    torch.testing.assert_close(first.hidden_states[3], asked.hidden_states[3][:, 0])
    torch.testing.assert_close(first.logits, plain.logits)


def test_predictions_keep_the_order_of_examples(teacher):
    classifier = load_classifier(str(teacher))
    alone = [predict_logits(classifier, TEXTS.select([row]))[0] for row in range(3)]
    np.testing.assert_allclose(predict_logits(classifier, TEXTS, batch_size=2), alone, atol=1e-5)


def test_inputs_are_cut_at_the_longer_sentence():
    inputs = HuggingFaceInputs(make_tokenizer(), 9)
    (encoded,) = inputs.encode(["the film was really very good and lovely"], ["fine plot"])
    assert len(encoded.input_ids) == 9
    assert encoded.token_type_ids.tolist() == [0] * 6 + [1] * 3  # [CLS] 4 words [SEP], 2 words [SEP]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_gives_its_first_layer_and_comes_back(tmp_path, family):
    """A student of one layer goes through save_pretrained and from_pretrained."""
    torch.manual_seed(0)
    config = make_config(family)
    model = AutoModelForSequenceClassification.from_config(config)
    model.base_model.save_pretrained(tmp_path / "encoder")
    make_tokenizer().save_pretrained(tmp_path / "encoder")
    student = start_classifier(str(tmp_path / "encoder"), LABELS, layers=1).eval()
    assert student.description.layers == 1 and HIDDEN_STATES in student.description.provides
    batch = batch_of(student, PAIRS)
    output = student(**batch, request=Request((1,), first_position=True))
    assert output.logits.shape == (2, 2) and output.hidden_states[1].shape == (2, config.hidden_size)
    student.model.save_pretrained(tmp_path / "saved")
    make_tokenizer().save_pretrained(tmp_path / "saved")
    again = load_classifier(str(tmp_path / "saved"))
    torch.testing.assert_close(again(**batch).logits, output.logits)
    assert again.labels == LABELS


def test_a_student_starts_from_the_first_layers(teacher):
    full = load_classifier(str(teacher))
    student = start_classifier(str(teacher), LABELS, layers=2).eval()
    batch, request = batch_of(full), Request((0, 2))
    for layer in (0, 2):
        torch.testing.assert_close(
            student(**batch, request=request).hidden_states[layer],
            full(**batch, request=request).hidden_states[layer],
        )
    assert not torch.equal(student.model.classifier.weight, full.model.classifier.weight)


def test_a_head_is_kept_on_request(teacher):
    kept = start_classifier(str(teacher), LABELS, keep_head=True).eval()
    torch.testing.assert_close(
        kept(**batch_of(kept)).logits, load_classifier(str(teacher))(**batch_of(kept)).logits
    )
    with pytest.raises(
        UserError, match=r"--keep-head, but .* has the classes .*'negative'.*leave out --keep-head"
    ):
        start_classifier(str(teacher), ("x", "y"), keep_head=True)


def test_scores_and_dropout(teacher):
    student = start_classifier(str(teacher), (), layers=1, dropout=0.3)
    assert student.labels == () and student(**batch_of(student)).logits.shape == (3, 1)
    assert {m.p for m in student.modules() if isinstance(m, torch.nn.Dropout)} == {0.3}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 5}, "--layers is 5; .* has 4"),
        ({"layers": -1}, "--layers is -1"),
        ({"max_length": 41}, "--max-length is 41; student bert_classifier takes 3 to 40 tokens"),
        ({"max_length": 2}, "--max-length is 2"),
    ],
)
def test_sizes_that_the_encoder_does_not_have(teacher, settings, message):
    with pytest.raises(UserError, match=message):
        start_classifier(str(teacher), LABELS, **settings)


def test_directories_that_hold_no_classifier(tmp_path):
    encoder = write_bert(tmp_path / "encoder", labels=None)
    with pytest.raises(
        UserError, match=r"teacher .*encoder' is no fine-tuned classifier: .*sentence_classification"
    ):
        load_classifier(str(encoder))
    with pytest.raises(UserError, match=r"cannot load a model from .*nowhere' .there is no such directory"):
        load_classifier(str(tmp_path / "nowhere"))
    (encoder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(
        UserError, match=r"cannot load a model from .*give a directory written by save_pretrained"
    ):
        start_classifier(str(encoder), LABELS)
    assert not list(encoder.glob("*.partial"))


def test_classes_that_do_not_exclude_each_other_are_refused(tmp_path):
    folder = write_bert(tmp_path / "tags")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "problem_type": "multi_label_classification"}))
    with pytest.raises(UserError, match=r"teacher .*tags' has the problem_type 'multi_label_classification'"):
        load_classifier(str(folder))


def test_a_tokenizer_with_more_pieces_than_the_model(tmp_path):
    folder = write_bert(tmp_path / "teacher")
    make_tokenizer(extra=["surplus"]).save_pretrained(folder)
    with pytest.raises(UserError, match="the tokenizer has 26 tokens, the model embeds 25"):
        load_classifier(str(folder))


# -- classes of teacher and data ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("teacher_labels", "given", "order"),
    [
        (("negative", "positive"), (), [0, 1]),
        (("POSITIVE", "Negative"), (), [1, 0]),
        (("LABEL_0", "LABEL_1"), (), [0, 1]),  # the corpus's files say 0 and 1
        (("a", "b"), ("positive", "negative"), [1, 0]),
        (("1", "0"), (), [1, 0]),
        (("LABEL_0", "LABEL_1"), ("positive", "negative"), [1, 0]),  # the user knows better than the corpus
        (("0", "1"), ("positive", "negative"), [1, 0]),
        (("negative", "positive"), ("positive", "negative"), [1, 0]),  # and than the teacher
    ],
)
def test_classes_are_matched_by_name(teacher_labels, given, order):
    values = {"0": "negative", "1": "positive"}
    assert class_order(teacher_labels, LABELS, name="t", values=values, given=given) == order


def test_classes_whose_names_differ_in_case_alone():
    """Megawatts and milliwatts: exact names first, and another spelling only where it says which one."""
    assert class_order(("mW", "MW"), ("MW", "mW"), name="t") == [1, 0]
    assert class_order(("MW", "mW"), ("MW", "mW"), name="t") == [0, 1]
    assert class_order(("x", "y"), ("MW", "mW"), name="t", given=("mW", "MW")) == [1, 0]
    for teacher, data in ((("MW", "mw"), ("MW", "mW")), (("MW", "mW"), ("Mw", "MW"))):
        with pytest.raises(UserError, match="cannot be matched by name"):
            class_order(teacher, data, name="t")


def test_scores_match_scores():
    assert class_order((), (), name="t") == [0]


@pytest.mark.parametrize(
    ("teacher_labels", "data", "given", "message"),
    [
        (("x", "y", "z"), LABELS, (), "t predicts 3 classes .* the data have 2 classes"),
        ((), LABELS, (), "t predicts a score, the data have 2 classes"),
        (LABELS, (), (), "t predicts 2 classes .* the data have a score"),
        (("LABEL_0", "LABEL_1"), ("x", "y"), (), "cannot be matched by name.*--teacher-labels x,y"),
        (("a", "b"), LABELS, ("positive", "great"), "cannot be matched by name"),
        (("a", "b"), LABELS, ("positive",), "--teacher-labels names 1 classes"),
    ],
)
def test_classes_that_do_not_match(teacher_labels, data, given, message):
    with pytest.raises(UserError, match=message):
        class_order(teacher_labels, data, name="t", given=given)


def test_given_names_are_for_teachers_without(tmp_path, caplog):
    """One list serves an ensemble of which one teacher has names and another has none."""
    named = write_bert(tmp_path / "named", labels=LABELS[::-1])
    nameless = write_bert(tmp_path / "nameless", labels=("LABEL_0", "LABEL_1"))
    ensemble = TeacherEnsemble.load([str(named), str(nameless)], LABELS, teacher_labels=LABELS)
    assert [member.order for member in ensemble.members] == [[1, 0], [0, 1]]
    assert "named names its classes itself, 'positive', 'negative'" in caplog.text
    assert caplog.text.count("are not used for it") == 1


def test_an_ensemble_reorders_each_member(tmp_path):
    same, swapped = write_bert(tmp_path / "a"), write_bert(tmp_path / "b", labels=LABELS[::-1])
    ensemble = TeacherEnsemble.load([str(same), str(swapped)], LABELS)
    assert [member.order for member in ensemble.members] == [[0, 1], [1, 0]]
    assert ensemble.description.name == f"ensemble of {same}, {swapped}"
    assert "logits" not in ensemble.description.provides and ensemble.description.layers == 0


def test_a_teacher_without_positions_takes_what_its_tokenizer_says(tmp_path):
    from transformers import XLNetConfig, XLNetForSequenceClassification

    tokenizer = make_tokenizer()
    sizes = {"vocab_size": len(tokenizer), "d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 8}
    XLNetForSequenceClassification(XLNetConfig(**sizes)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = load_classifier(str(tmp_path))
    assert model.inputs.max_length == 40
    assert predict_logits(model, Examples(["good " * 60], None, None, (), "text")).shape == (1, 2)
    tokenizer.model_max_length = int(1e30)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"a xlnet model doesn't say how long .* tokenizer_config.json"):
        load_classifier(str(tmp_path))
