"""Files of every format, written by their own libraries or by the format's description, read back number by number."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from resnets.errors import DataError, ResnetsError
from resnets.networks.weights.reader import open_weights
from resnets.networks.weights.safetensors import write_safetensors

from . import torch_files

NUMBERS = {
    "conv1.weight": np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype("float32"),
    "bn1.running_var": np.arange(4, dtype="float64"),
    "half": np.array([1.5, -2], "float16"),
    "bn1.num_batches_tracked": np.array(7, "int64"),
    "empty": np.zeros((0, 4), "float32"),
}


def read_all(path: Path) -> dict[str, np.ndarray]:
    file = open_weights(path)
    found = {name: tensor.read() for name, tensor in file.tensors.items()}
    for name, array in found.items():
        assert array.shape == file.tensors[name].shape
    return found


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_a_torch_archive_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(torch_files.archive(*torch_files.saved(NUMBERS)))
    assert open_weights(tmp_path / "w.pth").format == "PyTorch file"
    assert_same(read_all(tmp_path / "w.pth"), NUMBERS)


def test_a_torch_file_of_old_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.th").write_bytes(torch_files.legacy(NUMBERS))
    assert open_weights(tmp_path / "w.th").format == "PyTorch file (before 1.6)"
    assert_same(read_all(tmp_path / "w.th"), NUMBERS)


def test_views_into_one_storage_are_read_by_offset_and_stride(tmp_path: Path) -> None:
    storage = np.arange(12, dtype="float32")
    claims = {
        "transposed": torch_files.Claim((4, 3), (1, 4), 0, 12),
        "second row": torch_files.Claim((4,), (1,), 4, 12),
        "a number": torch_files.Claim((), (), 5, 12),
    }
    (tmp_path / "w.pth").write_bytes(torch_files.archive(torch_files.state_dict(claims), {"0": storage.tobytes()}))
    found = read_all(tmp_path / "w.pth")
    np.testing.assert_array_equal(found["transposed"], storage.reshape(3, 4).T)
    np.testing.assert_array_equal(found["second row"], storage[4:8])
    assert found["a number"] == 5


def test_bfloat16_comes_as_float32(tmp_path: Path) -> None:
    bits = np.array([0x3F80, 0xC000, 0x3FC0], "<u2")  # 1, -2, 1.5
    claim = torch_files.Claim((3,), (1,), 0, 3, dtype="BFloat16Storage")
    (tmp_path / "w.pth").write_bytes(torch_files.archive(torch_files.state_dict({"x": claim}), {"0": bits.tobytes()}))
    np.testing.assert_array_equal(read_all(tmp_path / "w.pth")["x"], np.array([1, -2, 1.5], "float32"))


def in_a_checkpoint(key: str) -> bytes:
    """A checkpoint with numbers of NumPy and a training script's arguments around the state dict."""
    program, _ = torch_files.saved({"w": np.ones(4, "float32")})
    scalar = b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02f8K\x00K\x01tRU\x08\0\0\0\0\0\0\0\0tR"
    arguments = b"cargparse\nNamespace\n)\x81}U\x02lrK\x01sb"
    body = program[2:-1]
    return (
        b"\x80\x02}(U\x05epochK\x05U\x04best"
        + scalar
        + b"U\x04args"
        + arguments
        + torch_files.plain(key)
        + body
        + b"u."
    )


@pytest.mark.parametrize("key", ["state_dict", "model", "module"])
def test_a_checkpoint_gives_its_state_dict_and_says_what_else_it_holds(tmp_path: Path, key: str) -> None:
    (tmp_path / "c.pth").write_bytes(torch_files.archive(in_a_checkpoint(key), {"0": np.ones(4, "float32").tobytes()}))
    file = open_weights(tmp_path / "c.pth")
    assert list(file.tensors) == ["w"]
    assert file.notes == (f"a checkpoint: its {key!r} was taken; it also holds 'epoch', 'best', 'args'",)


def test_a_loss_or_accuracy_beside_a_state_dict_is_not_taken_for_it(tmp_path: Path) -> None:
    program, data = torch_files.saved({"a": np.ones(4, "float32"), "b": np.zeros(3, "float32")})
    best = torch_files.Claim((), (), 0, 1, "9").opcodes()
    body = b"\x80\x02}(U\x09best_acc1" + best + torch_files.plain("state_dict") + program[2:-1] + b"u."
    one = np.ones(1, "float32").tobytes()
    (tmp_path / "c.pth").write_bytes(torch_files.archive(body, {**data, "9": one}))
    assert list(open_weights(tmp_path / "c.pth").tensors) == ["a", "b"]


def test_safetensors_are_read_and_written(tmp_path: Path) -> None:
    save_file(OrderedDict(NUMBERS), tmp_path / "a.safetensors")
    write_safetensors(tmp_path / "b.safetensors", NUMBERS, {"format": "pt"})
    for name in ("a", "b"):
        found = read_all(tmp_path / f"{name}.safetensors")
        assert_same({key: found[key] for key in NUMBERS}, NUMBERS)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ResnetsError, match="cannot be written: No such file"):
        write_safetensors(tmp_path / "none" / "w.safetensors", NUMBERS, {})


def small_model() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="first")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GroupNormalization(2, name="groups")(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="last")(keras.layers.Flatten()(x)))


@pytest.mark.filterwarnings("ignore:.*HDF5 file.*")
@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras", "w.h5"])
def test_what_keras_saves_is_read_by_layer_and_variable(tmp_path: Path, name: str) -> None:
    model = small_model()
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    save = model.save_weights if name == "w.weights.h5" else model.save
    save(tmp_path / name)
    found = read_all(tmp_path / name)
    expected = {f"{layer.name}/{v.name}": np.asarray(v) for layer in model.layers for v in layer.variables}
    assert set(found) == set(expected)
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array)


def test_an_optimizer_in_a_keras_file_is_left_out(tmp_path: Path) -> None:
    model = small_model()
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 8, 8, 3)), np.ones((2, 2)))
    model.save(tmp_path / "w.keras")
    assert len(open_weights(tmp_path / "w.keras").tensors) == len(model.variables) - 0


def test_a_model_of_keras_2_is_read_without_its_optimizer(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["keras_version"] = "2.4.0"
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = np.array([b"conv2d", b"inner"])
        weights["conv2d/conv2d/kernel:0"] = np.ones((3, 3, 3, 4), "float32")
        weights["inner/bn/gamma:0"] = np.ones(4, "float32")
        file["optimizer_weights/Adam/conv2d/kernel/m:0"] = np.ones((3, 3, 3, 4), "float32")
    assert list(open_weights(tmp_path / "old.h5").tensors) == ["conv2d/kernel", "bn/gamma"]


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "old.h5", "w") as file:
        for outer in ("a", "b"):
            file[f"model_weights/{outer}/conv/kernel:0"] = np.ones(3, "float32")
    with pytest.raises(DataError, match="two tensors named 'conv/kernel'"):
        open_weights(tmp_path / "old.h5")


def test_a_file_is_known_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(torch_files.archive(*torch_files.saved(NUMBERS)))
    assert open_weights(tmp_path / "w.safetensors").format == "PyTorch file"
    (tmp_path / "w.pth").write_text(json.dumps({"not": "weights"}))
    with pytest.raises(DataError, match=r"no file of weights: it begins with b'\{\"not"):
        open_weights(tmp_path / "w.pth")
