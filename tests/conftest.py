"""What all tests share: a quiet start, golden files, a seed on request."""

from __future__ import annotations

import gc
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["MPLBACKEND"] = "Agg"
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="resnets-cache-")  # what one machine remembers, tests must not
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compiling takes longer than what is compiled
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    # side by side, tests would wait for each other's threads
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", threads)
    os.environ.setdefault("OMP_NUM_THREADS", threads)

import pytest

gc.set_threshold(50_000, 20, 50)  # thousands of small models: to look through all of them often costs a tenth

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden with what the code says now")
    parser.addoption("--faults", action="store_true", help="try each fault as often as docs/reliability.md says")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow ones, so that no worker ends with one while the other has nothing left to do."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str, Any], None]:
    """Compare a JSON value with the entry of that key in tests/golden/<name>.json, or write it there."""
    update = request.config.getoption("--update-golden")
    if update and hasattr(request.config, "workerinput"):
        pytest.fail("--update-golden writes files: run it without -n")

    def check(name: str, key: str, value: Any) -> None:
        path = GOLDEN / f"{name}.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        value = json.loads(json.dumps(value))
        if update:
            GOLDEN.mkdir(exist_ok=True)
            text = json.dumps({**known, key: value}, indent=1, sort_keys=True, ensure_ascii=False)
            path.write_text(f"{text}\n", encoding="utf-8")
        else:
            assert key in known, f"{path.name} has no entry {key!r}; 'make golden' adds it"
            assert value == known[key]

    return check


@pytest.fixture
def seeded() -> None:
    """Make what Keras draws the same in every run."""
    _seed()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Seed once more for the test itself: between it and its fixtures pytest-randomly draws Python's numbers anew."""
    if "seeded" in pyfuncitem.fixturenames:
        _seed()
    return (yield)


def _seed() -> None:
    import keras

    keras.utils.set_random_seed(0)
