"""Pre-trained Hugging Face encoders, taken apart into what a teacher needs of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.models.encoders.heads import has_head, split_masked_lm
from cmlm_kd.models.exported import export_record
from cmlm_kd.system.git_lfs import refuse_pointer
from cmlm_kd.system.hugging_face import check_no_code, load_saved
from cmlm_kd.system.transformers_reports import without_reports

_MOST = {
    "num_hidden_layers": 1000,
    "num_attention_heads": 1000,
    "hidden_size": 1 << 17,
    "embedding_size": 1 << 17,
    "intermediate_size": 1 << 20,
    "vocab_size": 1 << 24,
    "max_position_embeddings": 1 << 24,
}
"""Setting of a configuration -> more than any model has."""

_SINE_WAVES = ("sinusoidal_pos_embds", "sinusoidal_embeddings")
"""Settings of DistilBERT, and of XLM and FlauBERT, that make positions sine waves."""

_VOLATILE = ("_name_or_path", "architectures", "dtype", "transformers_version")


def model_hash(config: Any, model: nn.Module) -> str:
    """Return a hash of a Hugging Face configuration and of all weights of a model, by name."""
    known = {name: value for name, value in config.to_dict().items() if name not in _VOLATILE}
    digest = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def load_encoder_and_transform(name_or_path: str) -> tuple[nn.Module, nn.Module | None]:
    """Load an encoder without pooler and the transform of its masked-LM head, weights in float32.

    Args:
        name_or_path: Hugging Face directory or hub name.

    Returns:
        encoder and transform; None instead of the transform where the checkpoint has no masked-LM head.

    Raises:
        UserError: if nothing can be loaded, it is no encoder, weights of the encoder are missing, or its
            masked-LM head is of an unknown form.
    """
    model, missing = load_masked_lm(name_or_path)
    check_weights(
        repr(name_or_path),
        of_encoder(model, missing),
        ": its config.json and its weights do not belong together; save the model again with save_pretrained",
        tensors="tensors of its encoder",
    )
    return split_masked_lm(model, has_head=has_head(model, missing))


def load_pretrained(
    kind: Any, name_or_path: str, what: str = "a model", *, with_reports: bool = False, **more: Any
) -> tuple[Any, set[str]]:
    """Load a Hugging Face model, weights in float32.

    Args:
        kind: one of transformers' ``Auto`` classes.
        name_or_path: Hugging Face directory or hub name.
        what: is to be loaded, for messages.
        with_reports: let transformers say which weights it did not find.
        more: for ``from_pretrained``, such as the name of a file of another format.

    Returns:
        the model, and the names of its weights that the directory lacks, which are random.

    Raises:
        UserError: if nothing can be loaded, an exported directory has changed, or a weight is not finite.
    """
    if Path(name_or_path).is_dir():
        export_record(Path(name_or_path))
    check_sizes(load_config(name_or_path, what, **more), repr(name_or_path))
    with _explained(what, name_or_path), contextlib.nullcontext() if with_reports else without_reports():
        settings = {"dtype": torch.float32, "output_loading_info": True, **more}
        model, report = load_saved(kind, name_or_path, **settings)
        if _lost_its_head(model, report["unexpected_keys"]):
            model.config.legacy = False
            model, report = load_saved(kind, name_or_path, config=model.config, **settings)
    check_finite(model, repr(name_or_path))
    keep_sine_waves(model)
    return model, set(report["missing_keys"]) | {key for key, *_ in report["mismatched_keys"]}


def keep_sine_waves(model: Any) -> None:
    """Keep positions that a configuration calls sine waves from being trained.

    transformers makes them an ordinary parameter. Where they are exported as what the configuration says,
    trained ones would be lost.

    Args:
        model: a Hugging Face model.
    """
    if any(getattr(model.config, setting, False) for setting in _SINE_WAVES):
        for name, parameter in model.named_parameters():
            if "position_embeddings" in name:
                parameter.requires_grad_(False)


def _lost_its_head(model: Any, unexpected: Iterable[str]) -> bool:
    """Return whether a DeBERTa's masked-LM head was left out: as published it has another form than
    transformers takes for granted where config.json says nothing of ``legacy``."""
    return bool(getattr(model, "legacy", False)) and any(
        key.startswith("lm_predictions.") for key in unexpected
    )


@contextlib.contextmanager
def _explained(what: str, name_or_path: str) -> Iterator[None]:
    """Turn what transformers raises while it loads into a message that says what to do."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # damaged files raise many types
        refuse_pointer(Path(name_or_path))
        place = "" if Path(name_or_path).is_dir() else " (there is no such directory)"
        raise UserError(
            f"cannot load {what} from {name_or_path!r}{place}: {first_line(error)}; "
            "give a directory written by save_pretrained, or a hub name that can be reached"
        ) from error


def of_encoder(model: Any, names: Iterable[str]) -> list[str]:
    """Return which weights are of a model's encoder; its pooler, which many directories lack, does not count.

    Args:
        model: a Hugging Face model with a head.
        names: of weights of it.
    """
    return [name for name in without_pooler(names) if name.startswith(model.base_model_prefix + ".")]


def without_pooler(names: Iterable[str]) -> list[str]:
    """Return the weights that are not those of a pooler, which masked language models are saved without."""
    return [name for name in names if "pooler" not in name]


def check_weights(subject: str, lost: Iterable[str], remedy: str, *, tensors: str = "tensors") -> None:
    """Refuse a model that would be random in part.

    Args:
        subject: what the message begins with, such as the name of the directory.
        lost: names of weights that are needed and were not found.
        remedy: what the message ends with, with its punctuation.
        tensors: what they are.

    Raises:
        UserError: naming how many were not found, and one of them.
    """
    if names := sorted(lost):
        raise UserError(f"{subject} has no weights for {len(names)} {tensors}, such as {names[0]}{remedy}")


def load_masked_lm(name_or_path: str, *, with_reports: bool = False) -> tuple[Any, set[str]]:
    """Load a Hugging Face masked language model, weights in float32; see :func:`load_pretrained`.

    Args:
        name_or_path: Hugging Face directory or hub name.
        with_reports: let transformers say which weights it did not find.

    Returns:
        the model, and the names of its weights that the directory lacks.

    Raises:
        UserError: if nothing can be loaded, or it is no bidirectional encoder.
    """
    from transformers import AutoModelForMaskedLM

    kind = "a masked language model"
    config = load_config(name_or_path, kind)
    check_encoder_type(config, repr(name_or_path))
    return load_pretrained(AutoModelForMaskedLM, name_or_path, kind, with_reports=with_reports)


def check_encoder_type(config: Any, name: str) -> None:
    """Refuse what is not a bidirectional encoder with a masked-LM form.

    Raises:
        UserError: naming the model and its type.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    if type(config) not in MODEL_FOR_MASKED_LM_MAPPING or config.is_encoder_decoder:
        raise UserError(
            f"teacher {name} is a {config.model_type} model, not a bidirectional encoder; "
            "take a BERT, RoBERTa, XLM-R, DistilBERT, ELECTRA or another masked language model"
        )


def load_config(name_or_path: str | Path, what: str = "a configuration", **more: Any) -> Any:
    """Load a Hugging Face configuration.

    Args:
        name_or_path: directory or hub name.
        what: is to be loaded, for messages.
        more: for ``from_pretrained``, such as the name of a file of another format, which has it inside.

    Raises:
        UserError: if nothing can be loaded.
    """
    from transformers import AutoConfig

    import cmlm_kd.models.encoders.ib_bert  # noqa: F401 - the Auto classes learn about it

    with _explained(what, str(name_or_path)):
        return load_saved(AutoConfig, name_or_path, **more)


def check_finite(model: nn.Module, name: str) -> None:
    """Refuse a model whose weights are not all numbers: what it says would not be, either.

    Args:
        model: with its weights.
        name: of the file or directory, for the message.

    Raises:
        UserError: naming the first of the weights.
    """
    for weight, value in model.named_parameters():
        if not torch.isfinite(value).all():
            raise UserError(
                f"{name}: {weight} has numbers that are not finite: the training diverged, or the file is "
                "damaged; give an earlier checkpoint"
            )


def check_sizes(config: Any, name: str) -> None:
    """Refuse a configuration that would take hours or all memory to build, as damaged files ask for.

    Args:
        config: of a Hugging Face model.
        name: of the model, for the message.

    Raises:
        UserError: naming the setting.
    """
    for setting, most in _MOST.items():
        value = getattr(config, setting, None)
        unlimited = setting == "max_position_embeddings" and value == -1  # as XLNet has it
        if isinstance(value, int | float) and not unlimited and not 0 <= value <= most:
            raise UserError(
                f"{name}: config.json has {setting} {value}; it must be from 0 to {most:,}; "
                "is the file damaged?"
            )


def config_of(description: Mapping[str, Any]) -> Any:
    """Return the Hugging Face configuration that ``config.to_dict()`` described, as checkpoints carry it.

    Raises:
        UserError: it describes nothing, a type of model that transformers does not know, or absurd sizes.
    """
    from transformers import CONFIG_MAPPING, AutoConfig
    from transformers import __version__ as version

    import cmlm_kd.models.encoders.ib_bert  # noqa: F401 - the Auto classes learn about it

    kind = description.get("model_type") if isinstance(description, Mapping) else None
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise UserError(
            f"the checkpoint describes a model of type {kind!r}, which transformers {version} does not know; "
            "is the file damaged, or of a newer version?"
        )
    check_no_code(dict(description), "the checkpoint's description of its model")
    settings = {key: value for key, value in description.items() if key != "model_type"}
    config = AutoConfig.for_model(kind, **settings)
    check_sizes(config, f"a {config.model_type} model")
    return config
