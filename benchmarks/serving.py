"""Load on a server of a run: capacity, minutes at 70 % of it, ten times it, and slow clients beside it.

    python -m benchmarks.serving RUN IMAGES [--minutes 3]

Server and clients share the cores, so that every figure is of both. Latencies are counted from when a request was due,
not from when a client had time to send it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import machine
from resnets.data.sources import image_files

_TIMEOUT = 60


@dataclass
class Client:
    """Sends images over connections that are kept, as many as are needed.

    Attributes:
        port: The server's.
        images: What is sent, in turns.
    """

    port: int
    images: list[bytes]
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)
    sent: int = 0

    async def get(self, path: str) -> tuple[int, bytes]:
        """Ask for a page on a connection of its own."""
        return await self._exchange(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode(), False)

    async def classify(self) -> int:
        """Send the next image and return the status; 0 is a connection that failed."""
        image = self.images[self.sent % len(self.images)]
        self.sent += 1
        head = (f"POST /v1/models/model:classify?top=1 HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
                f"Content-Length: {len(image)}\r\n\r\n")  # fmt: skip
        for kept in (True, False):  # one that was kept may have been closed just now; any client asks again
            try:
                return (await asyncio.wait_for(self._exchange(head.encode() + image, kept), _TIMEOUT))[0]
            except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
                continue
        return 0

    async def _exchange(self, request: bytes, kept: bool) -> tuple[int, bytes]:
        """Ask on a connection that was kept, if there is one, or on a new one."""
        if kept and self.idle:
            reader, writer = self.idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            found = re.search(r"content-length: (\d+)", head)
            body = await reader.readexactly(int(found[1])) if found else b""
        except BaseException:
            writer.close()
            raise
        if "connection: close" not in head:
            self.idle.append((reader, writer))
        else:
            writer.close()
        return int(head.split()[1]), body


async def closed(client: Client, connections: int, seconds: float) -> float:
    """Images a second when so many clients ask again as soon as they are answered."""
    until, done = time.perf_counter() + seconds, 0

    async def ask() -> None:
        nonlocal done
        while time.perf_counter() < until:
            status = await client.classify()
            done += status == 200

    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(connections)))
    return done / (time.perf_counter() - began)


async def offered(client: Client, rate: float, seconds: float) -> dict[int, list[float]]:
    """Offer requests at random times at a rate.

    Returns:
        The seconds of each from when it was due, by status; and under -status those from when the client sent it.
    """
    found: dict[int, list[float]] = {}
    tasks: set[asyncio.Task[None]] = set()
    rng = random.Random(0)

    async def ask(due: float) -> None:
        began = time.perf_counter()
        status = await client.classify()
        ended = time.perf_counter()
        found.setdefault(status, []).append(ended - due)
        found.setdefault(-status, []).append(ended - began)

    due = time.perf_counter()
    end = due + seconds
    while due < end:
        due += rng.expovariate(rate)
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        elif len(tasks) % 16 == 0:
            await asyncio.sleep(0)
        task = asyncio.create_task(ask(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return found


async def trickle(port: int) -> None:
    """A client that sends a byte a second, and comes again when it is thrown out."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /v1/models/model:classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
                         b"Content-Length: 100000\r\n\r\n")  # fmt: skip
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(1)
        except OSError:
            await asyncio.sleep(1)


async def health(client: Client, seconds: float) -> list[float]:
    """Seconds of each health check, ten a second."""
    found, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        status, _ = await client.get("/healthz")
        assert status == 200
        found.append(time.perf_counter() - began)
        await asyncio.sleep(0.1)
    return found


def line(what: str, seconds: list[float]) -> str:
    """Return how long something took, in milliseconds."""
    if not seconds:
        return f"{what}: none"
    cuts = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else seconds * 99
    p50, p95, p99 = (1000 * cuts[rank - 1] for rank in (50, 95, 99))
    return (
        f"{what}: {len(seconds):,}, p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f}, longest {1000 * max(seconds):.0f} ms"
    )


def memory(pid: int) -> float:
    """Return the resident memory of a process, in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]


async def load(port: int, pid: int, images: list[bytes], minutes: float) -> None:
    """Go through the phases."""
    client = Client(port, images)
    await closed(client, 8, 5)
    capacity = await closed(client, 32, 20)
    print(f"capacity  {capacity:.1f} images/s (32 clients that ask again at once)", flush=True)
    found = await offered(client, 0.7 * capacity, 60 * minutes)
    errors = {status: len(rows) for status, rows in found.items() if status >= 0 and status != 200}
    print(line(f"70 %      {minutes:g} minutes, errors {errors or 0}; answers", found.get(200, [])), flush=True)
    before = memory(pid)
    found = await offered(client, 10 * capacity, 30)
    by_status = {status: len(rows) for status, rows in found.items() if status >= 0}
    total = sum(by_status.values())
    print(f"10 times  30 s, {total:,} requests ({total / 30 / capacity:.1f} times), by status {by_status}; memory "
          f"{before:.0f} -> {memory(pid):.0f} MiB")  # fmt: skip
    print(line("          turned away, from when it was due", found.get(503, [])))
    print(line("          from when it was sent", found.get(-503, [])))
    print(line("          answered, from when it was due", found.get(200, [])), flush=True)
    await asyncio.sleep(2)
    slow = [asyncio.create_task(trickle(port)) for _ in range(300)]
    await asyncio.sleep(3)
    checks, found = await asyncio.gather(health(client, 40), offered(client, 0.35 * capacity, 40))
    for task in slow:
        task.cancel()
    print(line("slow      300 clients of a byte a second; health checks", checks))
    errors = {status: len(rows) for status, rows in found.items() if status >= 0 and status != 200}
    print(line(f"          beside 35 % load, errors {errors or 0}; answers", found.get(200, [])), flush=True)


def main() -> None:
    """Serve a run and put load on it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("images", type=Path)
    parser.add_argument("--minutes", type=float, default=3)
    asked = parser.parse_args()
    print(machine())
    images = [path.read_bytes() for path in list(image_files(asked.images)[0])[:500]]
    words = [sys.executable, "-m", "resnets", "serve", asked.run, "--port", "0", "--name", "model"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    said = server.stdout.readline()
    print(said.strip())
    try:
        asyncio.run(load(int(re.search(r":(\d+)  ", said)[1]), server.pid, images, asked.minutes))  # type: ignore[index]
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
