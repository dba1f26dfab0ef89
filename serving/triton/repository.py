"""The model repository as Triton wants it, laid out from a bundle; and the backends, which the wheel keeps apart."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from trimtab.serving.signature import Tensor

_TYPES = {"BYTES": "TYPE_STRING", "INT64": "TYPE_INT64", "FP64": "TYPE_FP64", "BOOL": "TYPE_BOOL"}
IDS = Tensor("id", "BYTES", (-1,))
_MODEL = "from trimtab.serving.triton.model import TritonPythonModel\n\n__all__ = ['TritonPythonModel']\n"


def lay_out(
    folder: Path, name: str, version: str, inputs: Iterable[Tensor], outputs: Iterable[Tensor], max_rows: int
) -> Path:
    """Write NAME/config.pbtxt and NAME/VERSION/model.py below `folder`; returns it."""
    code = folder / name / directory(version)
    code.mkdir(parents=True)
    (code / "model.py").write_text(_MODEL)
    (folder / name / "config.pbtxt").write_text(config(name, inputs, outputs, max_rows))
    return folder


def directory(version: str) -> str:
    """The version's folder. Triton's versions are whole numbers: one that is none is in folder 1."""
    is_number = version.isascii() and version.isdigit() and 0 < int(version[:20]) < 1 << 63
    return str(int(version)) if is_number else "1"


def config(name: str, inputs: Iterable[Tensor], outputs: Iterable[Tensor], max_rows: int) -> str:
    """config.pbtxt: one input a column, of shape [rows, 1]; requests that wait are computed together.

    The inputs are optional for Triton, so that it is the contract that says which one may not be left out.
    """
    tensors = [_tensor("input", one, "optional: true") for one in inputs] + [
        _tensor("output", one) for one in (*outputs, IDS)
    ]
    return "\n".join(
        [
            f"name: {_text(name)}",
            'backend: "python"',
            f"max_batch_size: {max_rows}",
            *tensors,
            "dynamic_batching {}",
            "instance_group [ { count: 1, kind: KIND_CPU } ]  # one log a process, and one process",
            f'parameters {{ key: "EXECUTION_ENV_PATH" value: {{ string_value: {_text(sys.prefix)} }} }}',
            "",
        ]
    )


def backends(folder: Path, wheel: Path) -> Path:
    """The Python backend with the stub of this Python; the wheel keeps the stubs apart. Returns `folder`."""
    made = folder / "python"
    made.mkdir(parents=True)
    stub = (
        wheel / "python_backend_stubs" / f"{sys.version_info[0]}.{sys.version_info[1]}" / "triton_python_backend_stub"
    )
    for path in (wheel / "backends" / "python").iterdir():
        (made / path.name).symlink_to(path)
    shutil.copy(stub, made)  # Triton sets its mode, which only its owner may: in an image that is root
    return folder


def _tensor(kind: str, tensor: Tensor, more: str = "") -> str:
    width = tensor.shape[1] if len(tensor.shape) > 1 else 1
    fields = f"name: {_text(tensor.name)}, data_type: {_TYPES[tensor.datatype]}, dims: [ {width} ]"
    return f"{kind} [ {{ {fields}{', ' if more else ''}{more} }} ]"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
