"""The processes of a training as threads: they find one another, hear the first, and notice every end."""

from __future__ import annotations

import resource
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from resnets.backend import peers as module
from resnets.backend.hosts import Hosts
from resnets.backend.lines import receive, send
from resnets.backend.meeting import allow_files
from resnets.backend.peers import Peers, gathered
from resnets.errors import ResnetsError, StoppedError, UsageError

from ..commands.spread import free_port


def _framed(text: str) -> bytes:
    return struct.pack(">I", len(text)) + text.encode()


def _connect(port: int) -> socket.socket:
    """Connect to the first process, which may only just begin to listen."""
    while True:
        try:
            return socket.create_connection(("localhost", port))
        except ConnectionRefusedError:
            time.sleep(0.05)


@pytest.fixture(autouse=True)
def threads_stand_for_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE", 1.0)
    monkeypatch.setattr(module, "broken", True)  # or the process of the tests would not end in order


def together(*work: Callable[[Peers], Any], seconds: int = 5) -> list[Any]:
    """Run a function for each process; return what each returned or raised."""
    port = free_port()

    def one(number: int) -> Any:
        try:
            with gathered(Hosts("localhost", port, len(work), number, seconds=seconds)) as peers:
                return work[number](peers)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(one, range(len(work))))


def test_all_hear_what_the_first_says_in_its_order() -> None:
    def listen(peers: Peers) -> list[Any]:
        return [peers.hear({"own": peers.process}), peers.hear("x" * 100_000), peers.hear(None)]

    assert together(listen, listen, listen) == [[{"own": 0}, "x" * 100_000, None]] * 3


def test_a_process_that_is_done_waits_for_the_others() -> None:
    ended: list[float] = []

    def slow(peers: Peers) -> None:
        time.sleep(0.5)
        ended.append(time.monotonic())

    def quick(peers: Peers) -> float:
        return time.monotonic()

    began = time.monotonic()
    together(slow, quick)
    assert time.monotonic() >= ended[0] > began + 0.4


def test_the_first_waits_where_all_meet_and_hears_of_one_that_does_not_come() -> None:
    came: list[int] = []

    def late(peers: Peers) -> None:
        for _ in range(2):
            time.sleep(0.2)
            came.append(peers.process)
            peers.meet()

    def first(peers: Peers) -> int:
        peers.meet()
        return len(came)

    def fails(peers: Peers) -> None:
        raise UsageError("Other data.")

    seen, *_ = together(lambda peers: [first(peers), first(peers)], late, late)
    assert seen[0] >= 2
    assert seen[1] == 4
    error, *_ = together(first, late, fails)
    assert str(error) == "Process 2 of the training ended: Other data."


def test_an_error_ends_the_others_with_its_words_and_code() -> None:
    def stops(peers: Peers) -> None:
        raise StoppedError("Stopped at step 7.")

    def waits(peers: Peers) -> None:
        peers.hear() if not peers.first else peers.end(None)

    for work in ((waits, stops, waits), (stops, waits, waits)):
        said = together(*work)
        who = work.index(stops)
        for number, error in enumerate(said):
            assert isinstance(error, ResnetsError)
            assert error.exit_code == 75
            assert (
                str(error) == f"{'' if number == who else f'Process {who} of the training ended: '}Stopped at step 7."
            )


def test_an_error_of_the_arithmetic_turns_out_to_be_another_process_that_is_gone() -> None:
    def dies(peers: Peers) -> None:
        time.sleep(0.3)
        line = peers._lines[0]
        peers._waited_for.clear()
        line.shutdown(socket.SHUT_RDWR)
        line.close()
        peers._lines.clear()

    def fails(peers: Peers) -> None:
        peers.advice = "; go on"
        time.sleep(0.5)
        raise RuntimeError("connection reset by peer")

    error, _ = together(fails, dies)
    assert isinstance(error, ResnetsError)
    assert str(error).startswith("Process 1 of the training is gone: it was killed")
    assert str(error).endswith("; go on.")


def test_a_process_that_waits_for_a_sum_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)

    def dies(peers: Peers) -> None:
        raise UsageError("Wrong.")

    def waits(peers: Peers) -> None:
        time.sleep(2.5)

    together(dies, waits)
    assert codes == [2]


def test_hosts_that_do_not_answer() -> None:
    port = free_port()
    with (
        pytest.raises(UsageError, match="1 of 2 processes did not come within 1 s: 1"),
        gathered(Hosts("localhost", port, 2, 0, seconds=1)),
    ):
        pass
    with (
        pytest.raises(UsageError, match=f"does not answer on localhost:{port} within 1 s"),
        gathered(Hosts("localhost", port, 2, 1, seconds=1)),
    ):
        pass
    with (
        socket.create_server(("localhost", port)),
        pytest.raises(UsageError, match="name another port"),
        gathered(Hosts("localhost", port, 2, 0, seconds=1)),
    ):
        pass


def test_strangers_and_processes_of_another_training_are_sent_away() -> None:
    port, errors = free_port(), []
    hosts = Hosts("localhost", port, 2, 0, seconds=10)

    def other(**differs: int) -> None:
        try:
            with gathered(Hosts(**{"first": "localhost", "port": port, "processes": 2, "process": 1, **differs})):
                pass
        except UsageError as error:
            errors.append(str(error))

    def first() -> str:
        with gathered(hosts) as peers:
            return str(sorted(peers._lines))

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(first)
        for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", b"\x00\x00\x00\x02[]", b"", _framed("[" * 4000),
                     _framed('{"processes": 2, "process": []}')):  # fmt: skip
            line = _connect(port)
            line.sendall(junk)
            line.close()
        other(processes=3)
        other()
        assert result.result() == "[1]"
    assert len(errors) == 1
    assert "is of a training that has 2 processes" in errors[0]


def test_a_process_that_is_started_again_takes_its_place_and_one_twice_does_not() -> None:
    port, hosts = free_port(), {"processes": 3}

    def hello(number: int) -> socket.socket:
        line = _connect(port)
        send(line, {**hosts, "process": number})
        return line

    def first() -> str:
        with gathered(Hosts("localhost", port, 3, 0, seconds=20)) as peers:
            return peers.hear("go")

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(first)
        hello(1).close()
        time.sleep(0.2)
        again = hello(1)
        with hello(1) as twice:
            assert receive(twice) == {"no": "has a process 1 already"}
        other = hello(2)
        for line in (again, other):
            assert [receive(line), receive(line)] == [{"come": True}, {"word": "go"}]
            send(line, {"done": True})
        assert result.result() == "go"
        again.close()
        other.close()


def test_a_thousand_processes_find_the_first_and_hear_it() -> None:
    port, count = free_port(), 1100
    heard: list[bytes] = []

    def others() -> None:
        lines = []
        for number in range(1, count):
            lines.append(_connect(port))
            send(lines[-1], {"process": number, "processes": count})
        for line in lines:
            assert receive(line) == {"come": True}
            heard.append(receive(line)["word"])
            send(line, {"done": True})
        for line in lines:
            assert receive(line) == {"over": True}
            line.close()

    allow_files(3 * count)
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed != resource.RLIM_INFINITY and allowed < 2 * count + 200:
        pytest.skip(f"the system allows {allowed} open files, and both ends lie in one process")
    thread = threading.Thread(target=others)
    thread.start()
    with gathered(Hosts("localhost", port, count, 0, seconds=60)) as peers:
        peers.hear("go")
    thread.join()
    assert heard == ["go"] * (count - 1)
