"""What may be registered, how it is found, and who hears of it."""

from dataclasses import dataclass

import pytest

from cmlm_kd.api.criterion import KDCriterion
from cmlm_kd.api.registry import Registry, kd_criteria
from cmlm_kd.cli import main
from cmlm_kd.criteria.sentence_classification import SentenceClassification
from cmlm_kd.errors import UserError


class Base:
    pass


@dataclass
class Config:
    size: int = 1


@pytest.fixture
def registry():
    registry = Registry("toy", Base)

    @registry.register("first_toy", config=Config)
    class First(Base):
        pass

    return registry


def test_lookup_and_names(registry):
    assert registry.get("first_toy").cls.__name__ == "First"
    assert registry.get("first_toy").config is Config
    assert list(registry) == ["first_toy"]


def test_unknown_name_answers_with_close_ones(registry):
    with pytest.raises(UserError, match="no toy is named 'firts_toy'; did you mean 'first_toy'"):
        registry.get("firts_toy")
    with pytest.raises(UserError, match="registered are: first_toy"):
        registry.get("xyz")


def test_duplicate_name_is_refused(registry):
    with pytest.raises(UserError, match=r"toy 'first_toy' is already registered by .*First"):
        registry.register("first_toy", config=Config)(type("Other", (Base,), {}))


def test_duplicate_class_name_is_refused(registry):
    with pytest.raises(UserError, match="a class named First is already registered"):
        registry.register("second_toy", config=Config)(type("First", (Base,), {}))


def test_wrong_base_is_refused(registry):
    with pytest.raises(UserError, match=r"Stranger must extend .*Base"):
        registry.register("second_toy", config=Config)(type("Stranger", (), {}))


@pytest.mark.parametrize("name", ["two words", "", "3d", "x=y", "--flag", None])
def test_names_that_no_flag_can_give_are_refused(registry, name):
    with pytest.raises(UserError, match=f"toy {name!r}: a name has letters, digits"):
        registry.register(name, config=Config)(type("Second", (Base,), {}))


def test_what_is_no_class_is_refused(registry):
    with pytest.raises(UserError, match="is no class; decorate a class"):
        registry.register("second_toy", config=Config)(lambda: None)


def test_an_abstract_class_is_refused():
    with pytest.raises(UserError, match="Half is abstract; define training_loss, validation_loss"):
        kd_criteria.register("half", config=Config)(type("Half", (KDCriterion,), {}))
    assert "half" not in kd_criteria


@pytest.mark.parametrize(
    ("name", "cls", "message"),
    [
        ("cross_entropy", "Mine", "fairseq has the name already, of --criterion cross_entropy"),
        (
            "mine",
            "CrossEntropyCriterion",
            "the class name CrossEntropyCriterion already, of --criterion cross",
        ),
        ("cmlm", "Mine", "fairseq has the name already, of --criterion cmlm .fairseq_plugins"),
    ],
)
def test_names_of_fairseqs_criteria_are_refused(name, cls, message):
    import fairseq_plugins  # noqa: F401 - listens to the registry

    with pytest.raises(UserError, match=f"KD criterion '{name}': .*{message}"):
        kd_criteria.register(name, config=Config)(type(cls, (SentenceClassification,), {}))
    assert name not in kd_criteria


@pytest.mark.parametrize("config", [int, Config(), None])
def test_config_must_be_a_dataclass(registry, config):
    with pytest.raises(UserError, match="config must be a dataclass"):
        registry.register("second_toy", config=config)(type("Second", (Base,), {}))


def test_listeners_hear_of_earlier_and_later_entries(registry):
    heard = []
    registry.subscribe(lambda entry: heard.append(entry.name))
    registry.register("second_toy", config=Config)(type("Second", (Base,), {}))
    assert heard == ["first_toy", "second_toy"]


def test_what_a_listener_refuses_stays_out(registry):
    def refuse(entry):
        if entry.name == "second_toy":
            raise UserError("no")

    registry.subscribe(refuse)
    with pytest.raises(UserError, match="no"):
        registry.register("second_toy", config=Config)(type("Second", (Base,), {}))
    assert list(registry) == ["first_toy"]


def test_soft_target_kd_is_there():
    import cmlm_kd.criteria.soft_target as soft_target

    entry = kd_criteria.get("soft_target_kd")
    assert (entry.cls, entry.config) == (soft_target.SoftTargetKD, soft_target.SoftTargetConfig)


def test_flags_of_a_criterion_are_printed(capsys):
    assert main(["flags", "soft_target_kd"]) == 0
    printed = capsys.readouterr().out
    assert "--kd-alpha\n    weight of the KD term, in [0, 1] (default: 0.5)\n" in printed
    assert "--kd-convention {teacher,hinton}\n" in printed and "(a switch)" in printed
    assert main(["flags"]) == 0
    names = capsys.readouterr().out.split()
    assert {"soft_target_kd", "pkd", "mobilebert_kd"} <= set(names)
    for name in names:
        assert main(["flags", name]) == 0
    assert main(["flags", "soft_target"]) == 2
    assert "did you mean 'soft_target_kd'" in capsys.readouterr().err
