"""soft_target_kd on fairseq's own students: hidden states or logits, the same loss and gradients."""

import dataclasses
import inspect
import re
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from fairseq import options, tasks
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.distributed import ModuleProxyWrapper
from fairseq.models import FairseqEncoderDecoderModel
from fairseq.models.transformer import TransformerDecoder
from fairseq_runs import COMMON, USER_DIR, run_train
from tiny_corpus import write_split, write_store
from torch.nn.parallel import DistributedDataParallel

import fairseq_plugins  # noqa: F401 - registers the criterion
from cmlm_kd.api.signals import SoftTargets
from cmlm_kd.criteria.soft_target import SoftTargetConfig, SoftTargetKD
from cmlm_kd.errors import UserError
from fairseq_plugins.models.output_layer import (
    adaptive_log_probs,
    find_projection,
    without_output_layer,
)

VOCABULARY, SENTENCES, LENGTH, TOP_K, PAD = 40, 3, 6, 4, 1
NO_DROPOUT = ("--dropout", 0)
TRANSFORMER = (
    *NO_DROPOUT,
    *("--encoder-layers", 1, "--decoder-layers", 1, "--encoder-embed-dim", 16, "--decoder-embed-dim", 16),
    *("--encoder-ffn-embed-dim", 16, "--decoder-ffn-embed-dim", 16),
    *("--encoder-attention-heads", 2, "--decoder-attention-heads", 2),
)
LSTM = (
    *NO_DROPOUT,
    *("--encoder-layers", 1, "--decoder-layers", 1, "--encoder-embed-dim", 16, "--decoder-embed-dim", 16),
    *("--encoder-hidden-size", 16, "--decoder-hidden-size", 16),
    *("--decoder-dropout-in", 0, "--decoder-dropout-out", 0),
)
STUDENTS = {
    "transformer": ("transformer", *TRANSFORMER),
    "tied": ("transformer", *TRANSFORMER, "--share-all-embeddings"),
    "iwslt": ("transformer_iwslt_de_en", *TRANSFORMER, "--share-decoder-input-output-embed"),
    "other-output-width": ("transformer", *TRANSFORMER, "--decoder-output-dim", 12),
    "lstm": ("lstm", *LSTM, "--decoder-out-embed-dim", 16),
    "lstm-additional-fc": ("lstm", *LSTM, "--decoder-out-embed-dim", 12),
    "lstm-tied": ("lstm", *LSTM, "--decoder-out-embed-dim", 16, "--share-decoder-input-output-embed"),
    "luong": ("lstm_luong_wmt_en_de", *LSTM, "--decoder-out-embed-dim", 12),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dictionaries")
    dictionary = Dictionary()
    for entry in range(VOCABULARY - len(dictionary)):
        dictionary.add_symbol(f"w{entry}")
    for language in ("de", "en"):
        dictionary.save(str(folder / f"dict.{language}.txt"))
    return folder


def build(data, arch, *flags, criterion="soft_target_kd"):
    """Model and criterion as fairseq-train builds them."""
    common = (*COMMON, "-s", "de", "-t", "en", "--optimizer", "adam", "--cpu", "--kd-topk", TOP_K)
    arguments = [str(flag) for flag in (data, "--arch", arch, "--criterion", criterion, *common, *flags)]
    config = convert_namespace_to_omegaconf(
        options.parse_args_and_arch(options.get_training_parser(), arguments)
    )
    task = tasks.setup_task(config.task)
    torch.manual_seed(1)
    return task.build_model(config.model), task.build_criterion(config.criterion)


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(0)
    source = torch.randint(4, VOCABULARY, (SENTENCES, 5), generator=generator)
    target = torch.randint(4, VOCABULARY, (SENTENCES, LENGTH), generator=generator)
    target[1, 4:] = PAD
    previous = torch.cat((torch.full((SENTENCES, 1), 2), target[:, :-1]), 1)
    valid = target.ne(PAD)
    valid[2] = False
    teacher = SoftTargets(
        torch.rand(SENTENCES, LENGTH, VOCABULARY, generator=generator).topk(TOP_K).indices,
        3 * torch.randn(SENTENCES, LENGTH, TOP_K, generator=generator).half(),
        torch.zeros(SENTENCES, LENGTH, 1).half(),
        valid,
    )
    return {
        "net_input": {
            "src_tokens": source,
            "src_lengths": torch.full((SENTENCES,), 5),
            "prev_output_tokens": previous,
        },
        "target": target,
        "ntokens": int(target.ne(PAD).sum()),
        "nsentences": SENTENCES,
        "teacher": teacher.to_batch(),
    }


def gradients(model, loss):
    return dict(
        zip(dict(model.named_parameters()), torch.autograd.grad(loss, model.parameters()), strict=True)
    )


@pytest.mark.parametrize("student", STUDENTS)
def test_fused_is_dense(data, sample, student):
    results = []
    for implementation in ("dense", "fused"):
        model, criterion = build(data, *STUDENTS[student], "--kd-implementation", implementation)
        loss, size, logged = criterion(model.train(), sample)
        results.append((loss, gradients(model, loss), logged))
        assert size == sample["ntokens"]
    (dense, dense_gradients, dense_logged), (fused, fused_gradients, fused_logged) = results
    torch.testing.assert_close(fused, dense)
    for name, gradient in dense_gradients.items():
        torch.testing.assert_close(fused_gradients[name], gradient, rtol=1e-4, atol=1e-5, msg=name)
    assert fused_logged.keys() == dense_logged.keys()


@pytest.mark.parametrize("student", STUDENTS)
def test_auto_is_fused_and_never_projects(data, sample, student, monkeypatch):
    model, criterion = build(data, *STUDENTS[student])
    library, given = criterion.criterion, []

    def spy(student, target, teacher, loss=library.training_loss):
        given.append(student)
        return loss(student, target, teacher)

    monkeypatch.setattr(library, "training_loss", spy)
    criterion(model.train(), sample)
    assert given[0].logits is None
    assert given[0].features.shape[:2] == (SENTENCES, LENGTH)


def test_alpha_zero_is_fairseqs_label_smoothing(data, sample):
    model, criterion = build(data, *STUDENTS["tied"], "--kd-alpha", 0)
    plain = CRITERION_REGISTRY["label_smoothed_cross_entropy"](criterion.task, False, 0.1)
    loss, size, logged = criterion(model.train(), sample)
    expected, expected_size, expected_logged = plain(model, sample)
    torch.testing.assert_close(loss, expected)
    assert size == expected_size
    torch.testing.assert_close(logged["term:nll_loss"], expected_logged["nll_loss"])
    fused_gradients = gradients(model, loss)
    for name, gradient in gradients(model, expected).items():
        torch.testing.assert_close(fused_gradients[name], gradient, rtol=1e-4, atol=1e-5)


def test_validation_is_plain_nll(data, sample):
    model, criterion = build(data, *STUDENTS["lstm"])
    plain = CRITERION_REGISTRY["cross_entropy"](criterion.task, False)
    with torch.no_grad():
        loss, _, logged = criterion(model.eval(), sample)
        expected, _, _ = plain(model, sample)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logged["term:nll_loss"], expected)


def test_sentence_average(data, sample):
    model, criterion = build(data, *STUDENTS["lstm"], "--sentence-avg")
    assert criterion(model.train(), sample)[1] == SENTENCES


def test_adaptive_softmax_takes_the_dense_way(data, sample):
    flags = (*STUDENTS["transformer"], "--adaptive-softmax-cutoff", "10,20")
    model, criterion = build(data, *flags, "--kd-alpha", 0.5)
    loss, _, _ = criterion(model.train(), sample)
    assert loss.isfinite()
    for name, gradient in gradients(model, loss).items():
        assert gradient.abs().sum() > 0, name

    output = model(**sample["net_input"])
    log_probs = adaptive_log_probs(model.decoder.adaptive_softmax, output[0])
    with torch.no_grad():
        expected = model.get_normalized_probs(output, log_probs=True)  # fairseq's, for decoding
    torch.testing.assert_close(log_probs, expected)

    model, criterion = build(data, *flags, "--kd-implementation", "fused")
    with pytest.raises(UserError, match="fused does not work here: the decoder has an adaptive softmax"):
        criterion(model.train(), sample)


def test_a_decoder_with_an_output_layer_of_its_own_takes_the_dense_way(data, sample):
    class Sharper(TransformerDecoder):
        def output_layer(self, features):
            return 2 * super().output_layer(features)

    model, criterion = build(data, *STUDENTS["transformer"])
    plain, _, _ = criterion(model.train(), sample)
    model.decoder.__class__ = Sharper
    assert find_projection(model) == "Sharper has an output layer of its own"
    sharper, _, _ = criterion(model, sample)
    assert abs(sharper.item() - plain.item()) > 1e-3


def test_a_forward_that_skips_the_output_layer_gives_logits(data, sample):
    class Direct(FairseqEncoderDecoderModel):
        def forward(self, src_tokens, src_lengths, prev_output_tokens):
            encoded = self.encoder(src_tokens, src_lengths=src_lengths)
            features, _ = self.decoder.extract_features(prev_output_tokens, encoded)
            return 2 * self.decoder.output_projection(features), None

    model, criterion = build(data, *STUDENTS["transformer"])
    plain, _, _ = criterion(model.train(), sample)
    direct = Direct(model.encoder, model.decoder).train()
    assert abs(criterion(direct, sample)[0].item() - plain.item()) > 1e-3


def test_sharded_parameters_take_the_dense_way(data, sample):
    flags = ("--ddp-backend", "fully_sharded", "--kd-implementation", "fused")
    model, criterion = build(data, *STUDENTS["transformer"], *flags)
    with pytest.raises(UserError, match="parameters are sharded"):
        criterion(model.train(), sample)


def test_the_stand_in_goes_even_when_the_model_fails(data):
    model, _ = build(data, *STUDENTS["transformer"])
    features = torch.zeros(1, 2, 16)
    with pytest.raises(RuntimeError, match="halfway"), without_output_layer(model.decoder):
        assert model.decoder.output_layer(features) is features
        raise RuntimeError("halfway")
    assert model.decoder.output_layer(features).shape == (1, 2, VOCABULARY)


def test_bfloat16_autocast_keeps_the_loss_in_float32(data, sample):
    model, criterion = build(data, *STUDENTS["tied"])
    exact, _, _ = criterion(model.train(), sample)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _, logged = criterion(model, sample)
    loss.backward()
    assert loss.dtype == torch.float32 and logged["term:kd_loss"].dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.01, atol=0)
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())


def test_every_logged_term_is_reported(data, sample):
    from fairseq.logging import metrics

    model, criterion = build(data, *STUDENTS["lstm"], "--kd-report-kl")
    _, size, logged = criterion(model.train(), sample)
    with metrics.aggregate(new_root=True) as values:
        criterion.reduce_metrics([logged, logged])
    shown = values.get_smoothed_values()
    assert shown.keys() == {
        *("loss", "nll_loss", "hard_loss", "kd_loss", "kd_kl", "ppl", "kd_tokens", "without_teacher"),
    }
    bits = torch.log(torch.tensor(2.0))
    assert shown["loss"] == pytest.approx((logged["loss"] / size / bits).item(), abs=2e-3)
    kd = logged["term:kd_loss"] / logged["count:kd_loss"] / bits
    assert shown["kd_loss"] == pytest.approx(kd.item(), abs=2e-3)
    assert shown["kd_tokens"] == 2 * logged["sum:kd_tokens"].item()
    assert shown["ppl"] == pytest.approx(2 ** shown["nll_loss"], rel=0.01)
    assert criterion.logging_outputs_can_be_summed()


def test_every_setting_is_used():
    """A field that is parsed and never read is a flag that lies."""
    source = inspect.getsource(SoftTargetKD)
    for field in dataclasses.fields(SoftTargetConfig):
        assert f"config.{field.name}" in source, field.name


@pytest.fixture
def process_group(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # torch puts one of its own there and leaves it
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("student", ["tied", "transformer", "lstm"])
def test_inside_distributed_data_parallel(data, sample, process_group, student):
    """Its reducer sees the output layer's gradient although the layer is used after the model's forward.

    It would otherwise refuse the second step. (fairseq builds it for GPUs only.)
    """
    model, criterion = build(data, *STUDENTS[student])
    expected = gradients(model, criterion(model.train(), sample)[0])
    parallel = ModuleProxyWrapper(DistributedDataParallel(model))
    for _ in range(2):
        parallel.zero_grad()
        criterion(parallel, sample)[0].backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameter.grad, expected[name], msg=name)


def test_why_unused_parameters_are_refused(data, sample, process_group):
    model, criterion = build(data, *STUDENTS["transformer"])
    parallel = ModuleProxyWrapper(DistributedDataParallel(model.train(), find_unused_parameters=True))
    with pytest.raises(RuntimeError, match=r"marked as ready twice|mark a variable ready only once"):
        criterion(parallel, sample)[0].backward()


def test_unused_parameters_with_the_fused_loss_are_refused(monkeypatch):
    import fairseq_plugins.criterions.kd as kd

    monkeypatch.setattr(kd, "get_data_parallel_world_size", lambda: 2)
    task = Namespace(target_dictionary=Dictionary())

    def settings(**others):
        values = {"ddp_backend": "pytorch_ddp", "find_unused_parameters": True, "sentence_avg": False}
        return Namespace(**vars(SoftTargetConfig(**others)), **values)

    cls = CRITERION_REGISTRY["soft_target_kd"]
    with pytest.raises(UserError, match="--find-unused-parameters with --ddp-backend pytorch_ddp"):
        cls(settings(), task)
    cls(settings(kd_implementation="dense"), task)


def test_the_command_in_the_documentation(tmp_path):
    page = (Path(__file__).parents[2] / "docs/criteria/soft_target_kd.md").read_text()
    block = page.split("## Smallest command")[1].split("##")[0].replace("\\\n", " ")
    words = block.replace("$(cmlm-kd user-dir)", str(USER_DIR)).split()
    assert words[0] == "fairseq-train"
    for seed, (split, rows) in enumerate({"train": 20, "valid": 5}.items()):
        write_split(tmp_path / "bin", split, rows, seed)
    store = write_store(tmp_path / "store", tmp_path / "bin", k=8)
    given = {"DATA-BIN": tmp_path / "bin", "STORE": store}
    run_train(
        *(given.get(word, word) for word in words[1:]),
        *(*TRANSFORMER, "--cpu", "--max-update", 2, "--save-dir", tmp_path / "student"),
    )
    state = torch.load(tmp_path / "student" / "checkpoint_last.pt", weights_only=True)
    assert state["optimizer_history"][-1]["num_updates"] == 2
    assert state["optimizer_history"][-1]["criterion_name"] == "SoftTargetKD"


def test_the_documentation_has_every_setting_with_its_default():
    page = (Path(__file__).parents[2] / "docs/criteria/soft_target_kd.md").read_text()
    for field in dataclasses.fields(SoftTargetConfig):
        default = "off" if field.default is False else field.default
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        row = rf"\| `--{field.name.replace('_', '-')}` \| `?{shown}`? \|"
        assert re.search(row, page), row
