"""SIGTERM and Ctrl-C: at once, or where the work lets them."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from resnets.errors import StoppedError
from resnets.runs.interrupts import Interrupts


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_raises_at_once_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(StoppedError, match="said so"), Interrupts("said so"):
        send(number)
    assert signal.getsignal(number) is before


def work(interrupts: Interrupts, *numbers: int) -> None:
    with interrupts.deferred():
        send(*numbers)
        assert interrupts.asked
        interrupts.says = "later"


def test_a_deferred_signal_waits_and_a_second_one_does_not() -> None:
    with Interrupts("first") as interrupts, pytest.raises(StoppedError, match="later"):
        work(interrupts, signal.SIGTERM)
    with Interrupts("first") as interrupts, pytest.raises(KeyboardInterrupt):
        work(interrupts, signal.SIGTERM, signal.SIGTERM)


def fail(interrupts: Interrupts) -> None:
    with interrupts.deferred():
        send(signal.SIGTERM)
        raise ZeroDivisionError


def test_an_error_within_is_not_hidden_by_a_signal() -> None:
    with Interrupts("x") as interrupts, pytest.raises(ZeroDivisionError):
        fail(interrupts)


def test_one_within_another_takes_the_signal() -> None:
    with Interrupts("outer"), pytest.raises(StoppedError, match="inner"), Interrupts("inner"):
        send(signal.SIGTERM)


def test_off_the_main_thread_nothing_is_touched() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def listen() -> None:
        with Interrupts("x"):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [before]


def stubborn() -> None:
    try:
        send(signal.SIGTERM)
    except Exception:
        pytest.fail("taken for an error")


def test_nobody_on_the_way_takes_a_signal_for_an_error_of_its_own() -> None:
    with pytest.raises(StoppedError, match="said so"), Interrupts("said so"):
        stubborn()
