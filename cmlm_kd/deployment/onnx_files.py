"""ONNX files: written by torch's own exporter, quantised by ONNX Runtime."""

from __future__ import annotations

import contextlib
import io
import logging
import multiprocessing
import pickle
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cmlm_kd.errors import UserError, first_line, os_error_of
from cmlm_kd.system.ranges import between, check_range

OPSET = 18
"""Of ONNX: the oldest that torch's exporter writes, and that ONNX Runtime reads since its version 1.14."""

_QUANTIZED = ["MatMul", "Gemm", "Gather"]
"""Operators whose weights become int8; Gather reads embeddings, which are most of a small model."""

NEWEST_OPSET = 23
"""The newest that torch's exporter writes."""


@dataclass(frozen=True)
class GraphSettings:
    """How graphs are written.

    Attributes:
        quantize: ``int8`` for dynamic quantisation of embeddings and matrix products; None for float32.
        opset: version of ONNX's operators, :data:`OPSET` to :data:`NEWEST_OPSET`.

    Raises:
        UserError: the opset is out of its range.
    """

    quantize: str | None = None
    opset: int = OPSET

    def __post_init__(self) -> None:
        check_opset(self.opset, "onnx")


def check_opset(opset: int, target: str) -> None:
    """Refuse an opset that graphs are not written in.

    Args:
        opset: what the user asks for.
        target: what is exported to.

    Raises:
        UserError: it is out of its range, or the target has none.
    """
    if target != "onnx":
        raise UserError(f"--opset goes with --to onnx, not with --to {target}; leave it out")
    hint = "torch's exporter writes these"
    check_range("--opset", opset, between(OPSET, NEWEST_OPSET), hint=hint)


def write_graph(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
    path: Path,
    settings: GraphSettings,
) -> None:
    """Write a module as one ONNX file.

    Args:
        module: in evaluation mode, its arguments named as the inputs.
        inputs: examples of the arguments, in their order.
        outputs: names of what it returns, in their order.
        dynamic: input -> axis -> name, of the axes whose size is free; axes of one name have one size.
        path: of the file.
        settings: how it is written.

    Raises:
        UserError: a package is missing, or torch cannot export the module.
    """
    import_onnx()
    job = (module, inputs, outputs, dynamic, path, settings)
    if any(isinstance(part, nn.RNNBase) for part in module.modules()):
        # torch 2.13 keeps an LSTM's length free in the first export of a process only (docs/traps.md).
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            pool.submit(_write_pickled, pickle.dumps(job)).result()
    else:
        _write_graph(*job)


def _write_pickled(job: bytes) -> None:
    _write_graph(*pickle.loads(job))  # of this program's own making, a moment ago


def _write_graph(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
    path: Path,
    settings: GraphSettings,
) -> None:
    sizes: dict[str, Any] = {}
    shapes = {
        name: {axis: sizes.setdefault(size, torch.export.Dim.DYNAMIC) for axis, size in axes.items()}
        for name, axes in dynamic.items()
    }
    float_path = path if settings.quantize is None else path.with_suffix(".float.onnx")
    try:
        with _without_reports():
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=tuple(shapes.get(name, {}) for name in inputs),
                opset_version=settings.opset,
                dynamo=True,
                verbose=False,
            )
            program.save(str(float_path), external_data=False)  # type: ignore[union-attr]
            _forget_shapes_of_results(float_path)
    except Exception as error:  # the exporter raises many types
        if os_error_of(error) is not None:  # a full disk is no fault of the model's
            raise
        raise UserError(
            f"torch {torch.__version__} cannot export the model to ONNX: {first_line(error)}; export it to "
            "huggingface or ctranslate2"
        ) from error
    if settings.quantize is not None:
        _quantized(float_path, path)
        float_path.unlink()


def _forget_shapes_of_results(path: Path) -> None:
    """Take the shapes of what a graph returns out of it: of LSTMs the exporter notes the example's length."""
    import onnx

    model = onnx.load(str(path))
    for result in model.graph.output:
        result.type.tensor_type.ClearField("shape")
    onnx.save(model, str(path))


def _quantized(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _without_reports():
        quantize_dynamic(
            str(source), str(target), weight_type=QuantType.QInt8, op_types_to_quantize=_QUANTIZED
        )


def import_onnx() -> None:
    """Look whether what exports need is installed.

    Raises:
        UserError: a package is missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{error.name or 'onnx'} is not installed; run: pip install 'cmlm-kd[onnx]', or take another --to"
        ) from None


@contextlib.contextmanager
def _without_reports() -> Any:
    """Keep the exporter from reporting its steps, and Python's warnings of what it calls."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
