"""RunDirectory: where a run keeps everything, and how it is written so that nothing half-written is ever read."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from resnets.errors import DataError, UsageError
from resnets.records import shown

FORMAT = 1
_LATEST = "latest"
_RECORD_KINDS = {
    "network_name": str, "network": dict, "data": dict, "preprocess": dict, "recipe": dict, "precision": str,
    "seed": int, "environment": dict,
}  # fmt: skip
_LARGEST_JSON = 64 * 2**20
_MORE_OF_RECORD = {"format", "recipe_name", "recipe_origins", "safety", "weights"}


class RunDirectory:
    """The files of one run. Names are the contract between commands; see ARCHITECTURE.md.

    Args:
        root: The directory.
        elsewhere: Whether another process of the same training writes it; this one then leaves all files alone.
    """

    def __init__(self, root: Path, elsewhere: bool = False) -> None:
        self.root, self.elsewhere = root, elsewhere
        self.record = root / "run.json"
        self.labels = root / "labels.txt"
        self.dataset = root / "dataset.json"
        self.split = root / "split.csv"
        self.metrics = root / "metrics.csv"
        self.log = root / "train.log"
        self.lock = root / "train.lock"
        self.checkpoints = root / "checkpoints"
        self.weights = root / "model.weights.h5"
        self.result = root / "result.json"
        self.divergence = root / "divergence.json"
        self.evaluation = root / "evaluation.json"
        self.predictions = root / "predictions.csv"
        self.figures = root / "figures"

    @property
    def finished(self) -> bool:
        """Whether the training came to its end: result.json is written last. Lost weights can be made anew."""
        return self.result.is_file() and self.weights.is_file()

    @property
    def trained_weights(self) -> Path:
        """The final weights.

        Raises:
            DataError: They are missing.
        """
        if not self.weights.is_file():
            raise DataError(f"{self.weights} is missing: the run has not finished; go on with resnets train --resume.")
        return self.weights

    def read_record(self) -> dict[str, Any]:
        """Return run.json.

        Raises:
            DataError: It is damaged or of another format.
        """
        record = read_json(self.record)
        if record.get("format") != FORMAT:
            raise DataError(f"{self.record} has format {record.get('format')!r}, this version reads format {FORMAT}.")
        for key in record:
            if key not in {*_RECORD_KINDS, *_MORE_OF_RECORD}:
                raise DataError(f"{self.record} is damaged: it has {key!r}, which no run has.")
        for key, kind in _RECORD_KINDS.items():
            if not isinstance(record.get(key), kind):
                raise DataError(f"{self.record} is damaged: {key!r} is {shown(record.get(key, 'missing'))}.")
        _check_values(self.record, record)
        return record

    def read_metrics(self) -> list[dict[str, str]]:
        """Return the rows of metrics.csv, one per epoch; no rows before the first epoch.

        Raises:
            DataError: The file is damaged.
        """
        try:
            rows = read_csv(self.metrics)
            for row in rows:
                for column in ("epoch", "step", "loss", "accuracy", "val_accuracy", "seconds"):
                    float(row[column])
        except (KeyError, TypeError, ValueError, csv.Error):
            raise DataError(f"{self.metrics} is damaged; bring back a copy, or train anew.") from None
        return rows

    def read_labels(self) -> tuple[str, ...]:
        """Return the class names in label order.

        Raises:
            DataError: The file is missing or damaged.
        """
        if not self.labels.is_file():
            raise DataError(f"{self.labels} is missing.")
        try:
            return tuple(self.labels.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
        except UnicodeDecodeError:
            raise DataError(f"{self.labels} is damaged: it is not UTF-8 text.") from None


def _check_values(path: Path, record: Mapping[str, Any]) -> None:
    """Refuse values that nothing here writes, in the parts of a record that no class reads.

    Raises:
        DataError: Names the first.
    """
    data, weights = record["data"], record.get("weights", {})
    names = data.get("unreadable", [])
    right = {
        "seed": type(record["seed"]) is int and 0 <= record["seed"] < 2**32,
        "precision": record["precision"] in ("float32", "mixed_bfloat16"),
        "data": all(isinstance(data.get(key), str) for key in ("argument", "name", "fingerprint"))
        and type(data.get("seed", 0)) is int and 0 <= data.get("seed", 0) < 2**32
        and isinstance(data.get("most", {}), dict) and all(type(n) is int for n in data.get("most", {}).values()),
        "data.unreadable": isinstance(names, list) and all(
            isinstance(row, list) and len(row) == 2 and all(isinstance(part, str) for part in row) for row in names
        ),
        "weights": isinstance(weights, dict) and (not weights or isinstance(weights.get("file"), str)),
    }  # fmt: skip
    if wrong := [name for name, is_right in right.items() if not is_right]:
        raise DataError(f"{path} is damaged: {wrong[0]!r} is not as any run has it.")


def create(output: Path | None, name: str) -> RunDirectory:
    """Make the directory of a new run.

    Args:
        output: The directory, which must not exist or be empty; None makes runs/<name>-<date-time>.
        name: What the run is about, such as "digits-resnet8".

    Raises:
        UsageError: The directory exists and holds something, or cannot be made.
    """
    root = free_folder(output, name)
    if root.name == _LATEST:
        raise UsageError(f"A run cannot be called {_LATEST!r}: that names the newest run; give --output another name.")
    try:
        if root.exists() and not (root.is_dir() and _is_free(root)):
            raise UsageError(f"The output directory {root} exists already; name another, or remove it.")
        run = RunDirectory(root)
        for folder in (root, run.figures, run.checkpoints):
            folder.mkdir(parents=True, exist_ok=True)
        if output is None:
            write_text(root.parent / _LATEST, root.name + "\n")
    except OSError as error:
        raise UsageError(
            f"The run directory {root} cannot be made: {error.strerror}; name another by --output."
        ) from None
    return run


def _is_free(root: Path) -> bool:
    """Return whether a folder is empty, or holds what a beginning leaves that was killed before run.json was there."""
    run = RunDirectory(root)
    own = {run.labels, run.dataset, run.split, run.lock, run.figures, run.checkpoints}
    left = [path for path in root.iterdir() if not (path.name.startswith(".") and path.name.endswith(".tmp"))]
    return set(left) <= own and not any(any(path.iterdir()) for path in left if path.is_dir())


def open_run(path: str | Path) -> RunDirectory:
    """Open the directory of a run.

    Args:
        path: The directory, or "runs/latest" for the newest run made there.

    Raises:
        DataError: There is no run.
    """
    root = Path(path)
    if root.name == _LATEST and root.is_file():
        root = root.parent / Path(root.read_text(encoding="utf-8", errors="replace").strip() or _LATEST).name
    if not (root / "run.json").is_file():
        near = sorted(p.parent for p in runs_folder().glob("*/run.json"))[-3:]
        hint = f"runs here: {', '.join(map(str, near))}." if near else "train one first: resnets train DATA."
        raise DataError(f"{root} is no run directory (it has no run.json); {hint}")
    return RunDirectory(root)


def runs_folder() -> Path:
    """Return the folder of new runs: $RESNETS_RUNS, or runs."""
    return Path(os.environ.get("RESNETS_RUNS") or "runs")


def free_folder(output: Path | None, name: str) -> Path:
    """Return the folder that was asked for, or a new one among the runs; it need not exist.

    Args:
        output: What was asked for, or None.
        name: What the new one is about; the time is added.
    """
    return output.expanduser() if output else _free(runs_folder(), f"{as_file_name(name)}-{_now()}")


def as_file_name(name: str) -> str:
    """Return a name that every file system takes: that of a varied network ("resnet56:norm=none") is none."""
    return re.sub(r'[\\/:*?"<>|=,\s]+', "-", name)


def _now() -> str:
    return time.strftime("%Y%m%d-%H%M%S")


def _free(folder: Path, name: str) -> Path:
    path, number = folder / name, 2
    while path.exists():
        path, number = folder / f"{name}-{number}", number + 1
    return path


def require_space(folder: Path, size: int) -> None:
    """Raise the error of a full disk before a library that would crash of it writes there.

    Args:
        folder: Where something is to be written.
        size: How much, in bytes.
    """
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary name, to the disk, then renamed."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot open a directory; a rename is durable enough there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    write_bytes(path, as_json(values))


def as_json(values: Mapping[str, Any]) -> bytes:
    """Return the content of a JSON file.

    Raises:
        ValueError: A number is not finite.
    """
    return f"{json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)}\n".encode()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DataError: It is not there or damaged.
    """
    try:
        if not path.is_file():
            raise DataError(f"{path} is {'no ordinary file' if path.exists() else 'missing'}.")
        if path.stat().st_size > _LARGEST_JSON:
            raise DataError(f"{path} is larger than anything that is written here: {path.stat().st_size:,} bytes.")
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None
    except RecursionError:
        raise DataError(f"{path} is damaged: it is nested too deeply.") from None
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}.") from None
    if not isinstance(values, dict):
        raise DataError(f"{path} holds no JSON object.")
    return values


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of figures as a CSV file, whole or not at all; the columns are those of the first."""
    columns = list(rows[0])
    write_csv(path, columns, [[row.get(column, "") for column in columns] for row in rows], mark=False)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], mark: bool = True) -> None:
    """Write a CSV file whole or not at all, in UTF-8 with a mark so that spreadsheets read every language.

    Args:
        path: The file.
        header: Names of the columns.
        rows: Their values.
        mark: Whether the mark is set: where all is English and numbers, programs read it better without.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, "\ufeff" * mark + text.getvalue())


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a CSV file as one dictionary per row; no rows where there is no file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))
