"""A reader of the pickles that PyTorch writes: it interprets a closed set of instructions and calls nothing.

``pickle`` is a programming language whose programs can do anything. Here the program is only taken apart
(``pickletools``), and each instruction is carried out on plain values: a tensor becomes a description of where its
numbers lie, an unimportant object (a number of NumPy, the arguments of a training script) a mark without content, and
anything else is refused by name.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

_MAX_INSTRUCTIONS = 1_000_000  # a checkpoint of 400 layers with its optimizer takes 100,000

DTYPES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip


_LARGEST = 2**96  # the magic number of old files has 80 bits
_MOST_PAIRS = 100_000


class PickleError(Exception):
    """The pickle is not one that PyTorch writes for weights; the message says why, as the end of a sentence."""


@dataclass(frozen=True)
class Named:
    """A class or function that the pickle names; it is never looked up."""

    name: str


@dataclass(frozen=True)
class Inert:
    """An object that weights do not need, kept as a mark."""

    name: str


@dataclass(frozen=True)
class Storage:
    """A run of numbers in the file: key, type in the words of NumPy, count."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class TensorView:
    """A tensor: where its numbers lie in a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    """Where a list of arguments begins on the stack."""


_MARK = _Mark()


def interpret(file: BinaryIO) -> Any:
    """Interpret one pickle and leave the file behind its last instruction.

    Returns:
        Dicts, lists, tuples, strings, numbers, :class:`TensorView`, :class:`Inert`.

    Raises:
        PickleError: The pickle is damaged or holds what weights never hold.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count > _MAX_INSTRUCTIONS:
                raise PickleError(f"it has more than {_MAX_INSTRUCTIONS:,} instructions")
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except PickleError:
        raise
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        MemoryError,
        OverflowError,
        RecursionError,
    ) as error:
        raise PickleError(f"its pickle is damaged ({error})") from error
    raise PickleError("its pickle does not end")


class _Machine:
    """The stack, the marks and the memo of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.pairs = 0

    def step(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            if isinstance(argument, int) and abs(argument) >= _LARGEST:
                raise PickleError("it holds a number that is far too large")
            self.stack.append(_LITERALS[name](argument))
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise PickleError(f"it uses the instruction {name}, which weights never need")

    def pop(self) -> Any:
        value = self.stack.pop()
        if isinstance(value, _Mark):
            raise PickleError("its pickle is damaged (a mark where a value should be)")
        return value

    def pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while not isinstance(self.stack[-1], _Mark):
            values.append(self.stack.pop())
        self.stack.pop()
        return values[::-1]

    def top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise PickleError("its pickle is damaged (a value of the wrong kind)")
        return self.stack[-1]

    def remember(self, argument: Any) -> None:
        self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]

    def recall(self, argument: Any) -> None:
        self.stack.append(self.memo[argument])

    def make_tuple(self, size: int) -> None:
        if len(self.stack) < size:
            raise PickleError("its pickle is damaged (a tuple without its parts)")
        parts = tuple(self.pop() for _ in range(size))
        self.stack.append(parts[::-1])

    def set_items(self, values: list[Any]) -> None:
        target = self.top(object)
        if isinstance(target, Inert):
            return
        _put(self.top(dict), zip(values[::2], values[1::2], strict=True))

    def extend(self, values: list[Any]) -> None:
        self.top(list).extend(values)

    def name_global(self, argument: Any) -> None:
        module, _, name = str(argument).partition(" ")
        self.stack.append(_named(module, name))

    def name_stacked_global(self) -> None:
        name, module = self.pop(), self.pop()
        self.stack.append(_named(module, name))

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise PickleError("it calls something that is no function of PyTorch's")
        if function.name == "collections.OrderedDict" and arguments and isinstance(arguments[0], list | tuple):
            self.pairs += len(arguments[0])  # a list can be recalled from the memo and copied again and again
            if self.pairs > _MOST_PAIRS:
                raise PickleError("it makes dicts of more pairs than any network has tensors")
        self.stack.append(_CALLS[function.name](function.name, arguments))

    def build(self) -> None:
        """The state of an object: of an OrderedDict its attributes, of an inert object its content. Not needed."""
        self.pop()
        if not isinstance(self.stack[-1], dict | Inert):
            raise PickleError("it sets the state of something other than a dict")

    def persistent(self) -> None:
        self.stack.append(_storage(self.pop()))


def _named(module: Any, name: Any) -> Named:
    full = f"{module}.{name}"
    if full in _CALLS or (module in ("torch", "torch.storage") and name in DTYPES):
        return Named(full)
    raise PickleError(f"it names {full}, which weights never need")


def _storage(identifier: Any) -> Storage:
    """("storage", type, key, device, count), of which old files have a sixth part that is None."""
    if not (isinstance(identifier, tuple) and len(identifier) in (5, 6) and identifier[0] == "storage"):
        raise PickleError("it refers to something outside that is no storage")
    _, kind, key, _, count = identifier[:5]
    dtype = DTYPES.get(kind.name.rpartition(".")[2]) if isinstance(kind, Named) else None
    if dtype is None or not isinstance(key, str) or not _is_count(count) or identifier[5:] not in ((), (None,)):
        raise PickleError("it refers to a storage in a way that PyTorch does not")
    return Storage(key, dtype, count)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**48


def _tensor(name: str, arguments: tuple[Any, ...]) -> TensorView:
    """Check that the view lies inside its storage and does not repeat numbers, so that a file cannot blow up."""
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, Storage) or not all(isinstance(part, tuple) for part in (shape, strides)):
        raise PickleError("a tensor in it has no storage")
    if len(shape) != len(strides) or len(shape) > 8 or not all(map(_is_count, (offset, *shape, *strides))):
        raise PickleError("a tensor in it has an impossible shape")
    count, last = 1, offset
    for size, stride in zip(shape, strides, strict=True):
        count, last = count * size, last + max(0, size - 1) * stride
    if count and (last >= storage.count or count > storage.count):
        raise PickleError(f"a tensor in it of shape {shape} is larger than its storage of {storage.count} numbers")
    return TensorView(storage, offset, shape, strides)


def _parameter(name: str, arguments: tuple[Any, ...]) -> TensorView:
    if not arguments or not isinstance(arguments[0], TensorView):
        raise PickleError("a parameter in it has no tensor")
    return arguments[0]


def _dict(name: str, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    pairs = arguments[0] if arguments else ()
    if len(arguments) > 1 or not isinstance(pairs, list | tuple):
        raise PickleError("an OrderedDict in it is made of something other than pairs")
    found: dict[Any, Any] = {}
    _put(found, pairs)
    return found


def _put(target: dict[Any, Any], pairs: Iterable[Any]) -> None:
    """Only plain keys: hashing a tuple of tuples of tuples can exhaust the machine's stack."""
    for key, value in pairs:
        if not isinstance(key, str | int | float | None):
            raise PickleError("a dict in it has a key that is no word or number")
        target[key] = value


def _inert(name: str, arguments: tuple[Any, ...]) -> Inert:
    return Inert(name)


_CALLS: dict[str, Callable[[str, tuple[Any, ...]], Any]] = {
    "collections.OrderedDict": _dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    **dict.fromkeys(
        ("torch.Size", "torch.device", "argparse.Namespace", "collections.defaultdict", "collections.Counter",
         "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "_codecs.encode"),
        _inert,
    ),
}  # fmt: skip

_LITERALS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT", "BINUNICODE",
         "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES",
         "BINBYTES8"),
        lambda value: value,
    ),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "MARK": lambda _: _MARK,
}  # fmt: skip

_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"), _Machine.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET", "GET"), _Machine.recall),
    "POP": lambda machine, _: machine.stack.pop(),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.pop_to_mark())),
    "LIST": lambda machine, _: machine.stack.append(machine.pop_to_mark()),
    "TUPLE1": lambda machine, _: machine.make_tuple(1),
    "TUPLE2": lambda machine, _: machine.make_tuple(2),
    "TUPLE3": lambda machine, _: machine.make_tuple(3),
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    "GLOBAL": _Machine.name_global,
    "STACK_GLOBAL": lambda machine, _: machine.name_stacked_global(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "NEWOBJ": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.persistent(),
}
