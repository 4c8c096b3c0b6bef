"""SavedModels of strangers: what reads, writes or runs anything is refused before it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from resnets.engines.saved_model import check_saved_model
from resnets.errors import DataError


class Answering(tf.Module):  # type: ignore[misc]
    """A model with a variable that answers by a function."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        super().__init__()
        self.weight = tf.Variable(2.0)
        self._answer = answer

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="image")])  # type: ignore[untyped-decorator]
    def serve(self, image: Any) -> Any:
        return {"probabilities": self._answer(image * self.weight)}


def saved(path: Path, answer: Callable[[Any], Any]) -> Path:
    model = Answering(answer)
    tf.saved_model.save(model, str(path), signatures={"serving_default": model.serve})
    return path


def _writes(image: Any) -> Any:
    with tf.control_dependencies([tf.io.write_file("/tmp/never", "x")]):
        return tf.identity(image)


HOSTILE: dict[str, Callable[[Any], Any]] = {
    "ReadFile": lambda image: image + tf.cast(tf.strings.length(tf.io.read_file("/etc/passwd")), tf.float32),
    "WriteFile": _writes,
    "EagerPyFunc": lambda image: tf.reshape(tf.py_function(lambda x: x, [image], tf.float32), [-1]),
    "MatchingFiles": lambda image: image + tf.cast(tf.size(tf.io.matching_files("/etc/*")), tf.float32),
    "If": lambda image: tf.cond(tf.reduce_sum(image) > 0, lambda: _writes(image), lambda: image),
}  # fmt: skip


def test_a_model_that_computes_is_let_through(tmp_path: Path) -> None:
    check_saved_model(saved(tmp_path / "good", tf.nn.relu))


@pytest.mark.parametrize("operation", HOSTILE)
def test_a_model_that_does_more_is_refused(operation: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "bad", HOSTILE[operation])
    with pytest.raises(DataError, match=f"the operation '({operation}|Greater|Sum|Size|WriteFile)'"):
        check_saved_model(path)


def edit(path: Path, change: Callable[[Any], None]) -> None:
    """Change the graph of a saved model."""
    file, model = path / "saved_model.pb", SavedModel()
    model.ParseFromString(file.read_bytes())
    change(model.meta_graphs[0])
    file.write_bytes(model.SerializeToString())


def functions(graph: Any) -> dict[str, Any]:
    return {function.signature.name: function for function in graph.graph_def.library.function}


def named(graph: Any, part: str) -> str:
    return next(name for name in functions(graph) if part in name)


def _answer_by_saving(graph: Any) -> None:
    wrapper = functions(graph)[named(graph, "signature_wrapper")]
    call = next(node for node in wrapper.node_def if node.op == "StatefulPartitionedCall")
    call.attr["f"].func.name = named(graph, "traced_save")


def _restore_by_saving(graph: Any) -> None:
    restore = next(node for node in graph.graph_def.node if node.name == graph.saver_def.restore_op_name)
    restore.attr["f"].func.name = named(graph, "traced_save")


def _restore_by_an_operation(graph: Any) -> None:
    node = graph.graph_def.node.add()
    node.name, node.op = "evil", "WriteFile"
    graph.saver_def.restore_op_name = "evil"


def _save_in_the_graph(graph: Any) -> None:
    node = graph.graph_def.node.add()
    node.name, node.op = "evil", "SaveV2"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_answer_by_saving, "reads or writes files when it answers"),
        (_restore_by_saving, "'(RestoreV2|SaveV2|MergeV2Checkpoints|StaticRegexFullMatch|Select|StringJoin)'"),
        (_restore_by_an_operation, "'WriteFile'"), (_save_in_the_graph, "'SaveV2'"),
    ],
)  # fmt: skip
def test_saving_and_restoring_are_let_through_in_their_place_only(
    change: Callable[[Any], None], says: str, tmp_path: Path
) -> None:
    path = saved(tmp_path / "model", tf.nn.relu)
    edit(path, change)
    with pytest.raises(DataError, match=says):
        check_saved_model(path)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no SavedModel that can be read"):
        check_saved_model(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\x80\x02cos\nsystem\nq\x00.")
    with pytest.raises(DataError, match="no SavedModel that can be read"):
        check_saved_model(tmp_path)
