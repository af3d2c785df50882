"""FastBERT's classifiers, what each stage trains, and its directory."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file
from tiny_classification import LABELS, make_tokenizer, write_bert
from tiny_encoders import make_config
from transformers import AutoModel

from cmlm_kd.api.needs import Needs
from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.data.classification.inputs import EncodedExamples
from cmlm_kd.early_exit.prediction import classify
from cmlm_kd.errors import UserError
from cmlm_kd.models.encoders.layers import additive_mask
from cmlm_kd.models.encoders.packed_linear import PackedLinear, can_pack
from cmlm_kd.models.fastbert.branch import Branch, BranchSettings, FusedBranch
from cmlm_kd.models.fastbert.directory import is_fastbert, load_fastbert, save_fastbert, write_speed
from cmlm_kd.models.fastbert.model import FastBERTClassifier
from cmlm_kd.models.fastbert.start import check_same_model, start_fastbert

SETTINGS = BranchSettings(size=8, heads=2, dropout=0.1)
TEXTS = Examples(["the film was good", "awful", "a very dull plot and poor acting"], None, None, (), "t")
FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("fastbert") / "encoder", labels=None)


@pytest.fixture
def model(encoder):
    torch.manual_seed(0)
    return start_fastbert(str(encoder), LABELS, branches=SETTINGS)


def batch_of(model, examples=TEXTS):
    return EncodedExamples(examples, model.inputs).collate(range(len(examples)))


def naive_branch(branch, states, length):
    """One sentence through the released code's classifier, every query made, padding cut away."""
    narrow = torch.tanh(branch.narrow(states[:length]))
    q, k, v = (layer(narrow) for layer in (branch.query, branch.key, branch.value))
    size = q.size(1) // branch.heads
    heads = []
    for head in range(branch.heads):
        part = slice(head * size, (head + 1) * size)
        heads.append(torch.softmax(q[:, part] @ k[:, part].T / size**0.5, -1) @ v[:, part])
    attended = branch.attended(torch.cat(heads, 1))
    return branch.output(torch.tanh(branch.dense(attended[0])))


def test_a_branch_against_a_loop_value_and_gradient():
    torch.manual_seed(0)
    branch = Branch(6, 3, SETTINGS).double().eval()
    states, lengths = torch.randn(3, 5, 6, dtype=torch.float64), [5, 1, 3]
    ours, loops = (states.clone().requires_grad_() for _ in range(2))
    mask = torch.tensor([[1] * n + [0] * (5 - n) for n in lengths])
    logits = branch(ours, additive_mask(mask, torch.float64))
    expected = torch.stack([naive_branch(branch, row, n) for row, n in zip(loops, lengths, strict=True)])
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)
    logits.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.grad, loops.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lengths", [[5, 1, 3], [5, 5, 5]])
def test_a_fused_branch_is_the_same_function(lengths):
    torch.manual_seed(0)
    branch = Branch(6, 3, SETTINGS).double().eval()
    states = torch.randn(3, 5, 6, dtype=torch.float64)
    mask = torch.tensor([[1] * n + [0] * (5 - n) for n in lengths])
    padding = None if min(lengths) == 5 else additive_mask(mask, torch.float64)
    fused = FusedBranch(branch)
    torch.testing.assert_close(fused(states, padding), branch(states, padding), rtol=0, atol=1e-12)
    assert not fused.state_dict() and not list(fused.parameters())


def test_branches_are_fused_until_they_are_trained(model):
    names, batch = set(model.state_dict()), batch_of(model)
    attention = model.config._attn_implementation
    slow = model.eval().all_logits(**batch)
    model.for_inference()
    assert set(model.state_dict()) == names and len(model.fused) == 4
    torch.testing.assert_close(model.all_logits(**batch), slow, rtol=0, atol=1e-5)
    assert model.config._attn_implementation == "sdpa"
    assert model.train().exits is model.classifiers
    assert model.config._attn_implementation == attention
    assert not any(layer.packed is not None for layer in packed_layers(model))
    torch.testing.assert_close(model.eval().all_logits(**batch), slow, rtol=0, atol=1e-5)


def packed_layers(model):
    return [layer for layer in model.modules() if isinstance(layer, PackedLinear)]


@pytest.mark.skipif(not can_pack(torch.float32), reason="this CPU or PyTorch packs no float32 layers")
def test_the_encoders_and_the_branches_large_products_are_packed(model, tmp_path):
    batch = batch_of(model)
    with torch.inference_mode():
        slow = model.eval().all_logits(**batch)
        model.for_inference()
        fast = model.all_logits(**batch)
        torch.testing.assert_close(fast, slow, rtol=0, atol=1e-5)
        # 6 products of a layer, and one of its branch, through copies and moves too.
        for same in (model, copy.deepcopy(model), model.to("cpu"), model.train().for_inference()):
            layers = packed_layers(same)
            assert len(layers) == 4 * 7 and all(layer.packed is not None for layer in layers)
            assert torch.equal(same.all_logits(**batch), fast)
    save_fastbert(tmp_path / "saved", model)
    saved = load_file(tmp_path / "saved" / "model.safetensors")
    assert saved["bert.encoder.layer.0.intermediate.dense.weight"].shape == (32, 16)


@pytest.mark.parametrize("assign", [False, True])
def test_weights_loaded_into_a_model_for_inference_are_used(encoder, model, assign):
    torch.manual_seed(1)
    other = start_fastbert(str(encoder), LABELS, branches=SETTINGS)
    for parameter in other.encoder.parameters():
        parameter.data.mul_(1.1)
    other.for_inference()
    batch = batch_of(model)
    with torch.inference_mode():
        expected = model.for_inference().all_logits(**batch)
        assert (other.all_logits(**batch) - expected).abs().max() > 1e-3
        # As part of another module, as in training.
        weights = torch.nn.ModuleDict({"classifier": model}).state_dict()
        torch.nn.ModuleDict({"classifier": other}).load_state_dict(weights, assign=assign)
        torch.testing.assert_close(other.all_logits(**batch), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_layers_of_every_family_give_what_hugging_face_gives(family, attention):
    torch.manual_seed(0)
    config = make_config(family, id2label=dict(enumerate(LABELS)), label2id={})
    model = FastBERTClassifier(config, make_tokenizer(), SETTINGS).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    batch = batch_of(model)
    model_inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    if getattr(config, "type_vocab_size", 0) > 1:
        model_inputs["token_type_ids"] = batch["token_type_ids"]
    with torch.no_grad():
        states = model.encoder(**model_inputs).last_hidden_state
        if attention == "sdpa":
            model.for_inference()
            assert model.config._attn_implementation == "sdpa"
        expected = model.teacher(states, additive_mask(batch["attention_mask"], states.dtype))
        torch.testing.assert_close(model(**batch).logits, expected, rtol=0, atol=1e-5)
        every = model.all_logits(**batch)
        assert every.shape == (2, 3, 2) and torch.equal(every[-1], model(**batch).logits)


def one_step(model, loss):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    loss.backward()
    optimizer.step()
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def test_the_first_stage_trains_the_encoder_and_the_last_classifier(model):
    moved = one_step(model.train(), model(**batch_of(model)).logits.square().sum())
    assert any(name.startswith("encoder.encoder.layer.0.") for name in moved)
    assert {name.split(".")[1] for name in moved if name.startswith("classifiers.")} == {"3"}


def test_the_second_stage_trains_the_branches_alone(model):
    model.begin_stage("branches")
    moved = one_step(model.train(), model.all_logits(**batch_of(model)).square().sum())
    assert {".".join(name.split(".")[:2]) for name in moved} == {f"classifiers.{i}" for i in range(3)}
    assert all(p.grad is None for part in (model.encoder, model.teacher) for p in part.parameters())


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_dropout_of_the_frozen_part(model, mode):
    model.begin_stage("branches", mode)
    for step in range(2):  # a trainer calls train() at every step
        model.train()
        assert model.encoder.training == (mode == "original")
        assert model.classifiers[0].training and model.teacher.training == (mode == "original")
        batch = batch_of(model)
        same = torch.equal(model.all_logits(**batch)[-1], model.all_logits(**batch)[-1])
        assert same == (mode == "paper"), step
    assert not model.eval().encoder.training


def test_from_one_stage_back_to_the_other(model):
    model.begin_stage("branches")
    model.train()
    model.begin_stage("teacher")
    assert model.encoder.training and all(p.requires_grad for p in model.encoder.parameters())
    assert not any(p.requires_grad for p in model.classifiers[0].parameters())


def test_fewer_layers_keep_the_encoders_weights(encoder, model):
    short = start_fastbert(str(encoder), LABELS, layers=2, branches=SETTINGS)
    assert len(short.layers) == len(short.classifiers) == 2
    whole = model.encoder.state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in short.encoder.state_dict().items())


def test_a_directory_keeps_everything(model, tmp_path):
    model.begin_stage("branches")
    model.speed = 0.25
    directory = tmp_path / "saved"
    save_fastbert(directory, model)
    again = load_fastbert(directory)
    batch = batch_of(model)
    assert is_fastbert(directory) and not again.training
    assert (again.stage, again.speed, again.labels, again.settings) == ("branches", 0.25, LABELS, SETTINGS)
    torch.testing.assert_close(again.all_logits(**batch), model.eval().all_logits(**batch), rtol=0, atol=1e-5)
    with pytest.raises(UserError, match="not empty"):
        save_fastbert(directory, model)


def test_hugging_face_reads_the_encoder_out_of_the_directory(model, tmp_path):
    save_fastbert(tmp_path / "saved", model)
    encoder, report = AutoModel.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert {name for name in report["missing_keys"] if "pooler" not in name} == set()
    theirs = encoder.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in model.encoder.state_dict().items())


def test_a_calibrated_speed_is_noted(model, tmp_path):
    directory = tmp_path / "saved"
    save_fastbert(directory, model)
    write_speed(directory, 0.125, {"target_accuracy": 0.9})
    assert load_fastbert(directory).speed == 0.125
    noted = json.loads((directory / "config.json").read_text())["fastbert"]
    assert noted["calibration"] == {"target_accuracy": 0.9} and noted["version"] == 1
    again = load_fastbert(directory)
    save_fastbert(tmp_path / "again", again)  # and in every copy
    assert (tmp_path / "again" / "config.json").read_text() == (directory / "config.json").read_text()
    again.begin_training(Needs())
    save_fastbert(tmp_path / "trained", again)
    noted = json.loads((tmp_path / "trained" / "config.json").read_text())["fastbert"]
    assert noted["speed"] is None and "calibration" not in noted


def test_directories_that_are_none(model, encoder, tmp_path):
    assert not is_fastbert(encoder) and not is_fastbert(tmp_path)
    with pytest.raises(UserError, match="holds a bert, no FastBERT"):
        load_fastbert(encoder)
    with pytest.raises(UserError, match="holds no FastBERT"):
        write_speed(encoder, 0.5, {})
    with pytest.raises(UserError, match=r"config\.json is missing; give the directory of a saved model"):
        load_fastbert(tmp_path)
    save_fastbert(tmp_path / "saved", model)
    path = tmp_path / "saved" / "config.json"
    document = json.loads(path.read_text())
    document["fastbert"]["branches"]["size"] = 4
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match="do not belong together"):
        load_fastbert(tmp_path / "saved")
    document["fastbert"]["version"] = 7
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match="format 7; this version reads format 1"):
        load_fastbert(tmp_path / "saved")
    assert set(load_file(tmp_path / "saved" / "model.safetensors")) > {"classifiers.0.narrow.weight"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"branches": []}, "branches is [], it should be an object"),
        ({"max_length": "9"}, 'max_length is "9", it should be a valid integer'),
        ({"speed": "fast"}, 'speed is "fast", it should be a valid number'),
    ],
)
def test_entries_of_other_types(model, tmp_path, changes, message):
    save_fastbert(tmp_path / "saved", model)
    path = tmp_path / "saved" / "config.json"
    document = json.loads(path.read_text())
    document["fastbert"] |= changes
    path.write_text(json.dumps(document))
    with pytest.raises(UserError) as refused:
        load_fastbert(tmp_path / "saved")
    assert f"config.json is damaged ({message}" in str(refused.value)
    other_classes = json.dumps(
        {**document, "fastbert": {"version": 1, "branches": {}, "stage": 1, "max_length": 9}, "id2label": 3}
    )
    for text in ("", "[]", "{}", other_classes, "[" * 100_000, '{"fastbert": 3}'):
        path.write_text(text)
        with pytest.raises(UserError, match=r"config\.json|holds a model, no FastBERT"):
            load_fastbert(tmp_path / "saved")


def test_probabilities_that_are_not_finite(model):
    """Weights can be finite, and too large."""
    loaded = model.for_inference()
    loaded.exits[-1].register_forward_hook(lambda branch, given, logits: logits * float("nan"))
    with pytest.raises(UserError, match=r"text 1: its probabilities are \[nan, nan\], which are not finite"):
        classify(loaded, ["a good film"], speed=0)


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (("only",), {}, "two classes or more, there is 1"),
        ((), {}, "two classes or more, there is 1"),
        (LABELS, {"layers": 1}, "one layer has nothing to leave out"),
        (LABELS, {"layers": 9}, "has 4"),
    ],
)
def test_models_that_make_no_sense(encoder, labels, settings, message):
    with pytest.raises(UserError, match=message):
        start_fastbert(str(encoder), labels, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 2}, "earlier was trained with --layers 4, here it is 2; pass --layers 4"),
        ({"branches": BranchSettings(4, 2)}, "earlier was trained with --branch-size 8, here it is 4"),
        ({"branches": BranchSettings(8, 4)}, "earlier was trained with --branch-heads 2, here it is 4"),
    ],
)
def test_models_of_another_shape_are_not_gone_on_from(encoder, model, settings, message):
    other = start_fastbert(str(encoder), LABELS, **{"branches": SETTINGS, **settings})
    with pytest.raises(UserError, match=message):
        check_same_model(model.state_of_architecture(), other, "earlier")
    check_same_model(model.state_of_architecture(), model, "earlier")


@pytest.mark.parametrize("settings", [{"size": 9}, {"size": 0}, {"heads": 0}, {"dropout": 1.0}])
def test_branches_that_make_no_sense(settings):
    with pytest.raises(UserError, match="fastbert: "):
        BranchSettings(**settings)


@pytest.mark.parametrize("family", ["albert", "mpnet", "modernbert"])
def test_encoders_that_cannot_be_left_halfway(family):
    config = make_config(family, id2label=dict(enumerate(LABELS)), label2id={})
    with pytest.raises(UserError, match=f"{family} model, which cannot be left between two layers"):
        FastBERTClassifier(config, make_tokenizer(), SETTINGS)


def test_stages_that_do_not_exist(model):
    with pytest.raises(UserError, match="stage is 'students'; allowed are teacher, branches"):
        model.begin_stage("students")
    with pytest.raises(UserError, match="mode is 'fast'; allowed are paper, original"):
        model.begin_stage("branches", "fast")
