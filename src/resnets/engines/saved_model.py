"""SavedModels are programs: what is to be run is read first, and only what computes is let through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resnets.errors import DataError

# What an exported network computes with. None of these reads, writes or sends anything but its own variables.
_COMPUTING = frozenset({
    "AddV2", "AssignVariableOp", "AvgPool", "BiasAdd", "Cast", "Const", "Conv2D", "FusedBatchNormV3", "Identity",
    "MatMul", "MaxPool", "Mean", "MirrorPad", "Mul", "Neg", "NoOp", "Pack", "Pad", "PadV2", "Placeholder",
    "ReadVariableOp", "Relu", "Reshape", "ReverseV2", "Rsqrt", "Shape", "Sigmoid", "Softmax", "SquaredDifference",
    "Squeeze", "StatefulPartitionedCall", "StopGradient", "StridedSlice", "Sub", "VarHandleOp", "VarIsInitializedOp",
})  # fmt: skip
# What brings variables back from the disk, in the function that is run for it when a model is loaded, and what brings
# them there, in the one that is never run here. Nothing else may call either.
_RESTORING = _COMPUTING | {"RestoreV2"}
_SAVING = _COMPUTING | {
    "DisableCopyOnRead", "MergeV2Checkpoints", "SaveV2", "Select", "ShardedFilename", "StaticRegexFullMatch",
    "StringJoin",
}  # fmt: skip


def check_saved_model(path: Path) -> None:
    """Refuse a SavedModel that does anything but compute.

    Args:
        path: Its folder.

    Raises:
        DataError: It holds an operation that this package does not export, or cannot be read.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel()
    try:
        model.ParseFromString((path / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as error:
        raise DataError(f"{path} is no SavedModel that can be read: {error}.") from None
    for graph in model.meta_graphs:
        _check_graph(path, graph)


def _check_graph(path: Path, graph: Any) -> None:
    functions = {function.signature.name: function.node_def for function in graph.graph_def.library.function}
    saver = {graph.saver_def.restore_op_name: _RESTORING, graph.saver_def.save_tensor_name.split(":")[0]: _SAVING}
    allowed: dict[str, frozenset[str]] = {}
    for node in graph.graph_def.node:
        if node.name in saver:
            for name in _reached(node, functions):
                allowed[name] = allowed.get(name, saver[node.name]) & saver[node.name]
    for name, nodes in (("", graph.graph_def.node), *functions.items()):
        for node in nodes:
            if node.op not in allowed.get(name, _COMPUTING):
                raise DataError(
                    f"{path} has the operation {node.op!r}, which resnets export does not write there; it is not run."
                )
            calls_saver = not allowed.keys().isdisjoint(_called(node))
            if calls_saver and name not in allowed and not (name == "" and node.name in saver):
                raise DataError(f"{path} reads or writes files when it answers; it is not run.")


def _reached(node: Any, functions: Mapping[str, Any]) -> set[str]:
    """Return the names of the functions that a node calls, and those that these call."""
    found: set[str] = set()
    waiting = [*_called(node)]
    while waiting:
        name = waiting.pop()
        if name in functions and name not in found:
            found.add(name)
            waiting += [called for inner in functions[name] for called in _called(inner)]
    return found


def _called(node: Any) -> Iterator[str]:
    for value in node.attr.values():
        if value.WhichOneof("value") == "func":
            yield value.func.name
        elif value.WhichOneof("value") == "list":
            yield from (function.name for function in value.list.func)
