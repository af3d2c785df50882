"""Settings of checkpoints that fairseq would evaluate: values, or a refusal that names them."""

import re
from argparse import Namespace
from pathlib import Path

import fairseq
import fairseq_cli.generate
import pytest
from fairseq_runs import exit_of
from tiny_corpus import write_split

from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import write_checkpoint
from cmlm_kd.fairseq_files.plain_settings import EVALUATED, check_plain_settings

EVALUATES = re.compile(
    r"(?<![.\w])(?:(?:utils|options)\.)?(?:eval|eval_str_list|eval_str_dict|eval_bool)\(\s*(?:\w+\.)*(\w+)"
)
HARMLESS = "open('trace', 'w')"  # leaves a file where it is run


@pytest.mark.parametrize(
    "value",
    [
        *(
            "(0.9, 0.98)",
            "0.9,0.98",
            "[(512, 3)] * 20",
            "[(64, 3)] * 2 + [(128, 3)] * 9",
            "True",
            "",
            "None",
            "16",
        ),
        *("{'name': 'scaled_dot_product'}", "[3,7,15,31]", "none", "-1", "not python at all"),
    ],
)
def test_values(value):
    check_plain_settings({"model": Namespace(encoder_layers=value), "optimizer": {"adam_betas": value}}, "x")


@pytest.mark.parametrize(
    "value",
    [
        *(
            HARMLESS,
            "__import__('os').getcwd()",
            "().__class__",
            "[x for x in (1,)]",
            "(lambda: 1)",
            "f'{1}'",
        ),
        *("[0] * 9999999999", "[0] * 9999 * 9999 * 9999", "2 ** 9", "'a' % 1", "a[0]", "(1," * 5000),
    ],
)
@pytest.mark.parametrize("name", ["encoder_layers", "adam_betas", "conv_feature_layers"])
def test_programs(name, value):
    with pytest.raises(UserError, match=rf"^x\.pt: its setting model\.{name} is .*, which is no plain value"):
        check_plain_settings({"model": Namespace(**{name: value})}, "x.pt")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        *(("encoder_layers", value, "from 0 to 1,000") for value in ([1], None, 10**9, -1, 1.0)),
        ("encoder_embed_dim", "abc", "a whole number from 0 to 131,072"),
        *(("attention_dropout", value, "a number from 0 to 1") for value in (float("inf"), float("nan"), 2)),
    ],
)
def test_values_of_which_no_model_is_built(name, value, allowed):
    for settings in (Namespace(**{name: value}), {name: value}):
        with pytest.raises(
            UserError, match=rf"^x\.pt: its setting model\.{name} is .*; it must be .*{allowed}"
        ):
            check_plain_settings({"model": settings}, "x.pt")


def test_values_of_models_of_fairseq():
    for name, value in (
        *(("encoder_embed_dim", None), ("encoder_layers", "[(512, 3)] * 4"), ("dropout", None)),
        *(("dropout", 1), ("decoder_layers", 0), ("encoder_embed_dim", "${model.embed_dim}")),
    ):
        check_plain_settings({"model": {name: value}}, "x")


def test_what_is_looked_up_elsewhere():
    check_plain_settings({"task": {"seed": "${common.seed}", "data": "/a/b(1)/__import__"}}, "x")
    with pytest.raises(UserError, match=r"its setting task\.data is '\$\{oc\.env:HOME\}'"):
        check_plain_settings({"task": {"data": ["${oc.env:HOME}"]}}, "x")
    for reference in ("${${a}:HOME}", "${oc.${a}:HOME}", "${ oc.env : HOME }", "x ${a} ${b:c}"):
        with pytest.raises(UserError, match="no plain value"):
            check_plain_settings({"a": "oc.env", "data": reference}, "x")
    check_plain_settings({"data": "${a.${b}}: ${list[0]}"}, "x")
    deep = {}
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(UserError, match="nested too deeply"):
        check_plain_settings(deep, "x")


def test_all_that_fairseq_evaluates_is_looked_at():
    """A new release may evaluate more settings."""
    found = set()
    for path in Path(fairseq.__file__).parent.rglob("*.py"):
        if "examples" not in path.parts:
            found |= set(EVALUATES.findall(path.read_text(encoding="utf-8")))
    assert {"encoder_layers", "adam_betas", "conv_aggregator_layers"} <= found
    # Lines of a file of data, and what functions call their own argument.
    assert found - {"strip", "x", "uf"} <= EVALUATED


def test_every_command_looks_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = write_split(tmp_path / "data", "test", 2, seed=1)
    model = {"_name": "fconv", "arch": "fconv", "encoder_layers": HARMLESS, "decoder_layers": "[(8, 3)]"}
    cfg = {"model": Namespace(**model), "task": {"_name": "translation", "data": str(data)}}
    history = [{"lr_scheduler_state": {}, "num_updates": 1}]
    state = {"model": {}, "args": None, "cfg": cfg, "optimizer_history": history, "extra_state": {}}
    write_checkpoint(state, tmp_path / "c.pt")
    for command in ("average --inputs c.pt --output m.pt", "export c.pt --output d"):
        assert main(command.split()) == 2
        assert "c.pt: its setting model.encoder_layers is" in capsys.readouterr().err
    flags = (data, "--task", "translation", "--path", "c.pt", "--gen-subset", "test", "--cpu")
    status, errors = exit_of(fairseq_cli.generate, *flags)
    assert status == 1 and "c.pt: its setting model.encoder_layers is" in errors.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.pt", "data"]
