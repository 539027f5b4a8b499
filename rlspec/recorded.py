"""Calls of a training run as they are kept, and the file that holds them.

The file is in the format safetensors: arrays by name (``3.rewards``, ``3.result.loss``), and under the metadata's key
``rlspec`` a JSON object with ``version`` and ``calls``, one object for each call: ``operation``, ``number`` (how many
calls of the operation there were before), ``values`` (arguments that are no arrays), ``types`` (the number type that an
array had in training; bfloat16 and float16 are kept as float32), ``features`` and ``conventions``.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np

from .features import features_of
from .loading import said_by
from .recording import VERSION, Kept
from .spec.clauses import choices_of, chosen
from .spec.operations import MASKS, OPERATIONS, Operation

FLAGS = (*MASKS, "terminated", "truncated")
"""Arguments that are kept as truth values, whatever they were in training."""

NARROW = ("bfloat16", "float16")
"""Number types that are kept as float32, which holds all their numbers."""


def kept(operation: str, number: int, given: Mapping[str, Any], result: Any, axes: str | None,
         conventions: Mapping[str, str], *, anyway: bool, wanted: Callable[[list[str]], bool],
         gradients: bool) -> Kept | None:  # fmt: skip
    """A call as it is kept, its arrays copied to the host, or None.

    anyway: whether it is kept whatever it holds.  Otherwise it is kept if its features are wanted; in what lies on a
    device these are not looked for.
    Raises ValueError for arguments that are not the operation's, with what is to be written instead.
    """
    known = OPERATIONS.get(operation)
    if known is None:
        raise ValueError(f"there is no operation {operation!r}; spec/operations.py has their names")
    if not anyway and any(_on_a_device(value) for value in given.values()):
        return None
    arguments, types = _arguments(known, given, axes)
    features = features_of(known, arguments)
    if not anyway and not wanted(features):
        return None
    results, result_types = _results(known, result, given, axes, gradients)
    _require_sizes(known, arguments, results)
    own = {name: _copied(value) for name, value in arguments.items()}  # a trainer uses its buffers again
    return Kept(operation, number, own, {name: _copied(value) for name, value in results.items()},
                types | result_types, features, _settled(known, conventions))  # fmt: skip


def _copied(value: Any) -> Any:
    """An array of our own, in the order of its axes; anything else as it is."""
    return np.array(value, order="C") if isinstance(value, np.ndarray) else value


def _on_a_device(value: Any) -> bool:
    """Whether an array of PyTorch or JAX lies elsewhere than on the host."""
    device = getattr(value, "device", None)
    return getattr(device, "type", getattr(device, "platform", "cpu")) != "cpu"


def _of_torch(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach")


def _array(value: Any) -> tuple[np.ndarray, str]:
    """The array on the host, perhaps the very one, and the number type that it had."""
    if not _of_torch(value):
        array = np.asarray(value)
        kind = str(array.dtype)
        return (array.astype(np.float32) if kind in NARROW else array), kind
    kind = str(value.dtype).removeprefix("torch.")
    on_host = value.detach().cpu()
    return (on_host.float() if kind in NARROW else on_host).numpy(), kind


def _arguments(
    operation: Operation, given: Mapping[str, Any], axes: str | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """All arguments in the operation's order, and the number types of the arrays."""
    unknown = [name for name in given if name not in operation.parameters]
    missing = [name for name in operation.parameters if name not in given and not _optional(operation, name)]
    if unknown or missing:
        said = [f"has no argument {', '.join(unknown)}"] * bool(unknown) + [f"lacks {', '.join(missing)}"] * bool(
            missing
        )
        raise ValueError(f"the call {' and '.join(said)}; the arguments are {', '.join(operation.parameters)}")
    found: dict[str, Any] = {}
    types: dict[str, str] = {}
    for name, spec in operation.axes.items():
        if name not in given:
            continue
        if spec:
            array, types[name] = _array(given[name])
            found[name] = arranged(array, spec, axes, name)
        else:
            found[name] = _plain(given[name], name)
    for name in operation.parameters:
        found.setdefault(name, _all_of(operation, found) if name in MASKS else None)
    ordered = {name: found[name] for name in operation.parameters}
    return {name: value.astype(bool, copy=False) if name in FLAGS else value for name, value in ordered.items()}, types


def _optional(operation: Operation, name: str) -> bool:
    """Whether an argument may be left out: a limit that there is none of, or a mask under which everything counts."""
    return name in MASKS or name in operation.limits


def _all_of(operation: Operation, found: Mapping[str, Any]) -> np.ndarray:
    """A mask under which everything counts, as large as the arguments that it is for."""
    return np.ones(found[operation.covered[0]].shape[: len(operation.axes[operation.mask])], dtype=bool)


def _plain(value: Any, name: str) -> Any:
    """A number, a text or None, as JSON has it.  Raises ValueError for anything else."""
    try:
        plain = value.item() if hasattr(value, "item") else value
    except (RuntimeError, ValueError):
        raise ValueError(f"{name} has several numbers; one was expected") from None
    if not isinstance(plain, bool | int | float | str | None):
        raise ValueError(f"{name} is of type {type(value).__name__}; a number or a text was expected")
    return plain


def _settled(operation: Operation, said: Mapping[str, str]) -> dict[str, str]:
    """The choices that are declared, by whole names.  Raises ValueError for what there is no choice of."""
    names = choices_of(operation.name)
    whole = {name.rpartition(".")[2]: name for name in names}
    if unknown := [name for name in said if name not in names and name not in whole]:
        raise ValueError(
            f"{operation.name} has no convention {', '.join(unknown)}; it has {', '.join(whole) or 'none'}"
        )
    return {whole.get(name, name): chosen(whole.get(name, name), text) for name, text in said.items()}


def arranged(array: np.ndarray, spec: Sequence[str], axes: str | None, name: str) -> np.ndarray:
    """The array with the axes that the operation wants, from those that it has."""
    has = axes.split() if axes else [*spec]
    if axes is None and array.ndim == len(spec) - 1 and spec[0] == "B":
        has = [*spec[1:]]  # a single row
    own = [axis for axis in has if axis in spec]
    if array.ndim != len(own):
        wanted = f"[{', '.join(spec)}]"
        raise ValueError(f"{name} has {array.ndim} axes; {wanted} was expected (axes={' '.join(has)!r})")
    lacking = [axis for axis in spec if axis not in own]
    array = array.reshape((1,) * len(lacking) + array.shape)
    return array.transpose([[*lacking, *own].index(axis) for axis in spec])


def _results(operation: Operation, result: Any, given: Mapping[str, Any], axes: str | None,
             gradients: bool) -> tuple[dict[str, Any], dict[str, str]]:  # fmt: skip
    """The results by their names, as far as they are given, and the arrays' number types under ``result NAME``."""
    if result is None:
        raise ValueError("the call has no result; it is given as result=")
    parts = list(result) if isinstance(result, tuple | list) else [result]
    if gradients and len(parts) == 1 and len(operation.results) > 1:
        parts += _gradients(operation, parts[0], given)
    found: dict[str, Any] = {}
    types: dict[str, str] = {}
    for (name, spec), part in zip(operation.results.items(), parts, strict=False):  # the later ones may be lacking
        if part is not None:
            array, types[f"result {name}"] = _array(part)
            found[name] = arranged(array, spec, axes, name or "the result")
    return found, types


def _require_sizes(operation: Operation, arguments: Mapping[str, Any], results: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError for arrays of which one is longer than another along the same axis."""
    known: dict[str, tuple[str, int]] = {}
    told = [(name, operation.axes[name], value) for name, value in arguments.items() if isinstance(value, np.ndarray)]
    told += [(name or "the result", operation.results[name], value) for name, value in results.items()]
    for name, axes, array in told:
        for axis, size in zip(axes, array.shape, strict=True):
            first, expected = known.setdefault(axis, (name, size))
            if size != expected:
                raise ValueError(f"{name} has {size} along the axis {axis}, and {first} has {expected}")


def _gradients(operation: Operation, loss: Any, given: Mapping[str, Any]) -> list[Any]:
    """The derivatives that the operation has, in its order, taken by PyTorch; None where there are none to be had."""
    import torch

    if not (_of_torch(loss) and loss.requires_grad and loss.ndim == 0):
        return []
    found: list[Any] = []
    for name in list(operation.results)[1:]:
        variable = next((given[of] for of in given if of.startswith(name.removeprefix("d_"))), None)
        if variable is None or not _of_torch(variable) or not variable.requires_grad:
            found.append(None)
            continue
        # None if the loss was computed from another tensor, such as one that this is a copy of.
        found += torch.autograd.grad(loss, [variable], retain_graph=True, allow_unused=True)
    return found


def save(calls: Sequence[Kept], path: Path) -> None:
    """Write calls to a file, which replaces the old one at once."""
    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray] = {}
    written = []
    for index, call in enumerate(calls):
        values = {}
        for name, value in call.arguments.items():
            if isinstance(value, np.ndarray):
                arrays[f"{index}.{name}"] = _storable(value)
            else:
                values[name] = value
        arrays |= {f"{index}.result.{name}": _storable(value) for name, value in call.results.items()}
        names = {name: value.tolist() for name, value in call.arguments.items() if _are_names(value)}
        written.append({
            "operation": call.operation, "number": call.number, "values": values | names, "types": call.types,
            "features": call.features, "conventions": call.conventions,
        })  # fmt: skip
    arrays = {name: array for name, array in arrays.items() if not _are_names(array)}
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.part")
    save_file(arrays, scratch, metadata={"rlspec": json.dumps({"version": VERSION, "calls": written})})
    scratch.replace(path)


def _are_names(value: Any) -> bool:
    """Whether an array holds texts, which the format has no type for."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "US"


def _storable(array: np.ndarray) -> np.ndarray:
    return np.array(array, order="C")


class NotRead(Exception):
    """A file that holds no recorded calls; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A recorded call: the arguments in the operation's order, and the results that were recorded, by their names."""

    operation: Operation
    arguments: tuple[Any, ...]
    results: dict[str, np.ndarray]
    precision: str
    """The coarsest of the number types that arguments and results had."""
    conventions: dict[str, str]
    file: str
    number: int
    known_types: dict[str, str] = field(default_factory=dict)
    """The number types of the arrays by the arguments' names, and of results under ``result NAME``."""

    @property
    def types(self) -> dict[str, str]:
        """The number types of all arrays; of those of which nothing is known, `precision`."""
        arrays = [name for name, value in self.named.items() if getattr(value, "dtype", np.dtype(bool)).kind == "f"]
        every = dict.fromkeys([*arrays, *(f"result {name}" for name in self.results)], self.precision)
        return every | self.known_types

    @property
    def named(self) -> dict[str, Any]:
        """The arguments by their names."""
        return dict(zip(self.operation.parameters, self.arguments, strict=True))

    @property
    def size(self) -> int:
        """How many numbers the arguments have."""
        return sum(np.size(argument) for argument in self.arguments)

    def __str__(self) -> str:
        return f"call {self.number} of {self.operation.name} in {self.file}"


COARSENESS = ("float64", "float32", "float16", "bfloat16")
"""Number types, each coarser than the one before."""


def load(path: Path) -> list[Seen]:
    """The calls in a file, or in all files of a folder.  Raises NotRead.

    A file's name ends in .safetensors (as ``rlspec.record_to`` writes it), .npz or .pt: the latter two hold one call,
    a mapping of ``operation``, the arguments by their names, ``result`` (or ``result.loss`` and so on) and, if the
    arrays are not [B, T], ``axes``.
    """
    if path.is_dir():
        return [call for file in files_at(path) for call in load(file)]
    if path.suffix not in READERS:
        raise NotRead(f"{path} is none of {', '.join(READERS)}")
    if not path.is_file():
        raise NotRead(f"there is no file {path}")
    try:
        return READERS[path.suffix](path)
    except NotRead:
        raise
    except Exception as error:
        what = "it is empty" if not path.stat().st_size else f"it is cut off, or is no {path.suffix} file"
        raise NotRead(f"{path} cannot be read: {what} ({said_by(error)})") from error


def files_at(path: Path) -> list[Path]:
    """A file, or the files of a folder that may hold recorded calls.  Raises NotRead for a folder without any."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in READERS)
    if not files:
        raise NotRead(f"{path} holds no file whose name ends in {', '.join(READERS)}")
    return files


def _recorded(path: Path) -> list[Seen]:
    """The calls in a file that ``rlspec.record_to`` made."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        said = json.loads((file.metadata() or {}).get("rlspec", "null"))
        if not said:
            raise NotRead(f"{path} was not written by rlspec.record_to")
        if said["version"] > VERSION:
            raise NotRead(f"{path} is of version {said['version']}; this rlspec reads {VERSION}, so update it")
        names = set(file.keys())
        calls = []
        for index, call in enumerate(said["calls"]):
            operation = OPERATIONS[call["operation"]]
            arguments = {
                name: file.get_tensor(key) for name in operation.parameters if (key := f"{index}.{name}") in names
            }
            arguments |= {name: _given(operation, name, value) for name, value in call["values"].items()}
            results = {name: file.get_tensor(key) for name in operation.results
                       if (key := f"{index}.result.{name}") in names}  # fmt: skip
            try:
                _require_sizes(operation, arguments, results)
                conventions = _settled(operation, call["conventions"])
            except ValueError as error:
                raise NotRead(f"{path}: call {call['number']} of {operation.name}: {error}") from error
            calls.append(_seen(operation, arguments, results, call["types"], conventions, path, call["number"]))
    return calls


def _given(operation: Operation, name: str, value: Any) -> Any:
    return np.array(value) if operation.axes[name] else value


def _single(path: Path, given: Mapping[str, Any]) -> list[Seen]:
    """The one call in a mapping."""
    given = {name: _plain(value, name) if np.ndim(value) == 0 else value for name, value in given.items()}
    name, axes = given.get("operation"), given.get("axes")
    if name not in OPERATIONS:
        raise NotRead(f"{path}: operation is {name!r}; spec/operations.py has the names that there are")
    result = given.get("result", tuple(given.get(f"result.{part}") for part in OPERATIONS[name].results))
    arguments = {of: value for of, value in given.items() if of in OPERATIONS[name].parameters}
    try:
        call = kept(name, 0, arguments, result, axes, {}, anyway=True, wanted=bool, gradients=False)
    except ValueError as error:
        raise NotRead(f"{path}: {error}") from error
    assert call is not None  # a whole one
    return [_seen(OPERATIONS[name], call.arguments, call.results, call.types, {}, path, 0)]


def _of_numpy(path: Path) -> list[Seen]:
    with np.load(path, allow_pickle=False) as file:
        return _single(path, dict(file))


ZIP = b"PK"
"""What a file begins with that today's ``torch.save`` wrote."""


def _of_torch_file(path: Path) -> list[Seen]:
    import torch

    try:
        given = torch.load(path, weights_only=True, map_location="cpu")
    except UnpicklingError as error:
        if not path.read_bytes().startswith(ZIP):
            raise  # it was not written by torch.save
        raise NotRead(f"{path} holds more than tensors, numbers and texts, and nothing else is read from it") from error
    return _single(path, given)


READERS = {".safetensors": _recorded, ".npz": _of_numpy, ".pt": _of_torch_file}
"""What reads a file, by how its name ends."""


def _seen(operation: Operation, arguments: Mapping[str, Any], results: Mapping[str, np.ndarray],
          types: Mapping[str, str], conventions: Mapping[str, str], path: Path, number: int) -> Seen:  # fmt: skip
    known = [COARSENESS.index(kind) for kind in types.values() if kind in COARSENESS]
    ordered = tuple(arguments[name] for name in operation.parameters)
    return Seen(operation, ordered, dict(results), COARSENESS[max(known, default=0)], dict(conventions), path.name,
                number, dict(types))  # fmt: skip
