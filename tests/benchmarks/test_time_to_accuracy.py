"""What a table of whole trainings says."""

from __future__ import annotations

from benchmarks.time_to_accuracy import Result, row


def test_a_row_has_medians_of_time_and_means_with_their_errors() -> None:
    results = [Result(10, 9.0, 94.0, 94.4), Result(10, 8.0, 94.2, 94.4), Result(10, 30.0, 94.4, 94.4)]
    expected = "| fast | 10 | 9.0 | 94.00, 94.20, 94.40 | 94.20 ± 0.12 | 94.40 ± 0.00 |"  # 0.2 / sqrt(3)
    assert row("fast", results) == expected
    assert row("one", results[:1]) == "| one | 10 | 9.0 | 94.00 | 94.00 | 94.40 |"
