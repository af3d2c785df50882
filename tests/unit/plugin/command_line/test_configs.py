"""Plain dataclasses as fairseq configs: each field arrives as it was typed, or is refused."""

from argparse import ArgumentParser
from dataclasses import dataclass, field, make_dataclass
from typing import Literal

import pytest
from fairseq import options
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.dataclass.utils import convert_namespace_to_omegaconf, gen_parser_from_dataclass
from fairseq_runs import USER_DIR

import fairseq_plugins  # noqa: F401 - makes the bridge listen
from cmlm_kd.api.criterion import KDCriterion
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.errors import UserError
from fairseq_plugins.command_line.configs import PluginConfig, fairseq_dataclass, plain_config


@dataclass(frozen=True)
class AllKinds:
    kd_number: int = 3
    kd_share: float = 0.5
    kd_name: str = "a b"
    kd_switch: bool = False
    kd_choice: Literal["left-most", "right_most"] = field(default="left-most", metadata={"help": "a side"})
    kd_layers: list[int] = field(default_factory=lambda: [1, 2])
    kd_rates: list[float] = field(default_factory=list)
    kd_maybe: int | None = None
    kd_perhaps: "float | None" = 0.25
    kd_side: Literal["x", "y"] | None = None
    kd_some: list[str] | None = None


class ToyKD(KDCriterion):
    def training_loss(self, student, target, teacher):
        raise NotImplementedError

    def validation_loss(self, student, target):
        raise NotImplementedError


@pytest.fixture(scope="module", autouse=True)
def toy():
    kd_criteria.register("toy_kd", config=AllKinds)(ToyKD)


def parse(tmp_path, *flags):
    """The toy's config as fairseq-train's command line gives it."""
    common = ("--user-dir", USER_DIR, "--arch", "lstm", "--task", "translation", "--criterion", "toy_kd")
    arguments = [str(value) for value in (tmp_path, *common, "--optimizer", "adam", *flags)]
    args = options.parse_args_and_arch(options.get_training_parser(), arguments)
    return plain_config(AllKinds, convert_namespace_to_omegaconf(args).criterion)


def test_defaults_survive(tmp_path):
    assert parse(tmp_path) == AllKinds()


def test_given_values_arrive(tmp_path):
    flags = (
        *("--kd-number", 7, "--kd-share", 1, "--kd-name", "it's", "--kd-switch", "--kd-choice", "right_most"),
        *(
            "--kd-layers",
            "4,5,12",
            "--kd-rates",
            "0.5,1",
            "--kd-maybe",
            9,
            "--kd-perhaps",
            2,
            "--kd-side",
            "y",
        ),
    )
    assert parse(tmp_path, *flags) == AllKinds(
        7, 1.0, "it's", True, "right_most", [4, 5, 12], [0.5, 1.0], 9, 2.0, "y"
    )


def test_one_element_lists(tmp_path):
    assert parse(tmp_path, "--kd-layers", "12").kd_layers == [12]


def test_a_wrong_choice_is_refused_by_name(tmp_path, capsys):
    with pytest.raises(SystemExit):
        parse(tmp_path, "--kd-choice", "up")
    assert "left-most" in capsys.readouterr().err


def test_later_registrations_reach_fairseq_under_their_own_class_name():
    """Resuming compares class names."""
    assert CRITERION_REGISTRY["toy_kd"].__name__ == "ToyKD"
    assert CRITERION_REGISTRY["soft_target_kd"].__name__ == "SoftTargetKD"


def one_field(name, kind, default):
    return make_dataclass("Other", [(name, kind, field(default=default))])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            one_field("kd_on", bool, True),
            r"'kd_on' of Other is a bool that defaults to True.*default to False",
        ),
        (one_field("kd_map", dict | None, None), "'kd_map' of Other has type .* fairseq cannot read"),
        (one_field("kd_numbers", Literal[1, 2], 1), "'kd_numbers' of Other has type .* a Literal of strings"),
        (one_field("kd_flag", bool | None, None), "'kd_flag' of Other has type"),
        (one_field("kd_either", int | str, 1), "'kd_either' of Other has type"),
        (one_field("kd_pairs", list[list[int]] | None, None), "'kd_pairs' of Other has type"),
        (one_field("seed", int, 2), "'seed' of Other has the name of a setting of fairseq; rename it"),
        (one_field("lr", float, 0.1), "'lr' of Other has the name of a setting of fairseq"),
        (one_field("adam_betas", str, ""), "'adam_betas' of Other has the name of a setting"),
        (one_field("arch", str, ""), "'arch' of Other has the name of a setting"),
        (one_field("data", str, ""), "'data' of Other has the name of a setting"),
        (make_dataclass("Other", [("kd_needed", int)]), "'kd_needed' of Other has no default"),
    ],
)
def test_what_fairseq_would_get_wrong_is_refused(config, message):
    with pytest.raises(UserError, match=message):
        fairseq_dataclass(config, "other_kd")


def test_a_refused_config_leaves_nothing_registered():
    with pytest.raises(UserError, match="no default"):
        kd_criteria.register("other_kd", config=make_dataclass("Other", [("kd_needed", int)]))(
            type("OtherKD", (ToyKD,), {})
        )
    assert "other_kd" not in list(kd_criteria) and "other_kd" not in CRITERION_REGISTRY


def test_a_flag_of_the_architecture_is_refused(tmp_path):
    """fairseq would drop ours in silence and hand over the architecture's default."""
    kd_criteria.register("dropout_kd", config=one_field("dropout", float, 0.9))(
        type("DropoutKD", (ToyKD,), {})
    )
    arguments = ("--user-dir", USER_DIR, "--arch", "lstm", "--criterion", "dropout_kd", "--optimizer", "adam")
    with pytest.raises(UserError, match="dropout_kd: flag --dropout also belongs to the task or the arch"):
        options.parse_args_and_arch(options.get_training_parser(), [str(tmp_path), *map(str, arguments)])


@dataclass
class OwnConfig(PluginConfig):
    side: Literal["left", "right"] = "left"
    rates: "list[float]" = field(default_factory=lambda: [0.5])
    layers: int | None = None


@dataclass
class InheritedConfig(OwnConfig):
    more: "str | None" = None


def test_configs_of_the_plugin_are_read_like_those_of_the_library():
    parser = ArgumentParser()
    gen_parser_from_dataclass(parser, InheritedConfig())
    arguments = ["--side", "right", "--rates", "1,2", "--layers", "3", "--more", "x"]
    assert vars(parser.parse_args(arguments)) == {"side": "right", "rates": [1, 2], "layers": 3, "more": "x"}
    assert vars(parser.parse_args([])) == {"side": "left", "rates": [0.5], "layers": None, "more": None}
    with pytest.raises(SystemExit):
        parser.parse_args(["--side", "up"])


def test_a_config_of_the_plugin_with_an_unknown_type_is_refused():
    with pytest.raises(UserError, match=r"field 'pairs' of Wrong has type .* fairseq cannot read"):
        type("Wrong", (PluginConfig,), {"__annotations__": {"pairs": dict[str, int]}})
