"""What is read of the processor, from texts as Linux gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.backend import processor

ZEN4 = "processor\t: 0\nmodel name\t: AMD EPYC 9R14\nflags\t\t: fpu avx2 avx512f avx512_bf16 avx512_vnni\n"
ZEN3 = "processor\t: 0\nmodel name\t: AMD EPYC 7R13\nflags\t\t: fpu avx2 fma\n"
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n"


@pytest.mark.parametrize(("text", "has"), [(ZEN4, True), (ZEN3, False), (GRAVITON, True), ("", False)])
def test_bfloat16_is_told_by_the_flags(text: str, has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: text)
    assert processor.cpu_has_bfloat16() is has


def test_the_name_is_read_or_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: ZEN3)
    assert processor.cpu_name() == "AMD EPYC 7R13"

    def absent(self: Path, encoding: str) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", absent)
    assert processor.cpu_name()
    assert processor.cpu_flags() == frozenset()


def test_at_least_one_core_is_there() -> None:
    assert processor.cores() >= 1


def test_a_container_may_have_less_memory_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, absent = tmp_path / "memory.max", tmp_path / "absent"
    monkeypatch.setattr(processor, "_LIMITS", (str(limit), str(absent)))
    limit.write_text("max\n")
    whole = processor.memory()
    assert whole is not None
    assert whole > 2**28
    limit.write_text("1000000\n")
    assert processor.memory() == 1_000_000
