"""Throughput and waiting time of a running ``hyperx serve``, against a loop over ``predict`` in this process.

    hyperx serve --port 8000 &
    python benchmarks/serving.py http://127.0.0.1:8000 --seconds 8 --rounds 2

The lines are measured in turn, as other work on a machine comes and goes. Of a server on this machine, ``--pid`` also
gives the sentences in a second of its processor time, and its memory (on Linux).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from pathlib import Path

import httpx

import hyperx

TEXTS = [
    ("de", "Angela Merkel wohnt in Berlin."),
    ("tr", "Mustafa Kemal dün Ankara’da yeni bir kitap okudu."),
    ("en", "The old house near Paris burned down last night."),
    ("fr", "Marie Curie est née à Varsovie."),
    ("es", "El presidente visitó Buenos Aires el martes."),
    ("it", "La squadra ha vinto la partita a Roma."),
    ("pl", "Maria Skłodowska urodziła się w Warszawie."),
    ("fi", "Hän asuu Helsingissä vaimonsa kanssa."),
]


def loop(model: hyperx.HyperX, seconds: float) -> list[float]:
    """The seconds that each sentence took."""
    times, end = list[float](), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        language, text = TEXTS[len(times) % len(TEXTS)]
        model.predict([text], language=language)
        times.append(time.perf_counter() - start)
    return times


async def ask(url: str, clients: int, seconds: float) -> list[float]:
    """The seconds that each answer took, to so many clients at once."""
    times, end = list[float](), time.perf_counter() + seconds

    async def client(number: int) -> None:
        while (start := time.perf_counter()) < end:
            language, text = TEXTS[number % len(TEXTS)]
            answer = await http.post(f"{url}/predict", json={"text": text, "language": language})
            answer.raise_for_status()
            times.append(time.perf_counter() - start)
            number += 1

    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=clients), timeout=120) as http:
        await asyncio.gather(*map(client, range(clients)))
    return times


def processor_time(pid: int) -> float:
    """The seconds of processor time that a process had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """The resident memory of a process, in MB."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) // 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--pid", type=int)
    given = parser.parse_args()
    model = hyperx.HyperX.from_pretrained()
    for language, text in TEXTS:  # what is loaded with the first sentence of a language
        model.predict([text], language=language)
    asyncio.run(ask(given.url, len(TEXTS), 3))
    before = memory(given.pid) if given.pid else 0
    for _ in range(given.rounds):
        for clients in (0, *given.clients):
            pid = given.pid if clients else os.getpid()
            start, used = time.perf_counter(), processor_time(pid) if pid else 0
            times = sorted(
                asyncio.run(ask(given.url, clients, given.seconds)) if clients else loop(model, given.seconds)
            )
            per = f"{len(times) / (time.perf_counter() - start):.1f} sentences/s"
            if pid:
                per += f", {len(times) / (processor_time(pid) - used):.1f} in a second of processor time"
            middle, last = times[len(times) // 2], times[int(0.99 * (len(times) - 1))]
            name = f"{clients} clients" if clients else "loop"
            print(f"{name:10}  {per}; half within {middle:.3f} s, 99 % within {last:.3f} s", flush=True)
    if given.pid:
        print(f"memory: {before:,} MB before, {memory(given.pid):,} MB after")


if __name__ == "__main__":
    main()
