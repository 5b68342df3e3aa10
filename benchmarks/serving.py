"""Throughput and waiting time of a running ``hyperx serve`` under wrk, against a loop over ``predict`` in this process.

    hyperx serve --port 8000 &
    python benchmarks/serving.py http://127.0.0.1:8000 --seconds 8 --rounds 2 --pid $!

The lines are measured in turn, as other work on a machine comes and goes. Of a server on this machine, ``--pid`` also
gives the sentences in a second of its processor time, and its memory every 10 s (on Linux). With ``--hostile 200``, so
many clients never finish their headers meanwhile, as many their bodies, and as many send garbage again and again. wrk
has to be installed (``apt install wrk``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import urlsplit

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
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def loop(model: hyperx.HyperX, seconds: float) -> dict[str, float]:
    """What wrk says of the server, of calls of ``predict`` with one sentence."""
    times, start = list[float](), time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        language, text = TEXTS[len(times) % len(TEXTS)]
        model.predict([text], language=language)
        times.append(time.perf_counter() - now)
    half, last = sorted(times)[len(times) // 2], sorted(times)[int(0.99 * (len(times) - 1))]
    return {"answers": len(times), "seconds": now - start, "half": half, "last": last, "failed": 0}


def ask(url: str, clients: int, seconds: float, pid: int | None) -> dict[str, float]:
    """What wrk says of so many clients at once; prints the memory of the server."""
    with NamedTemporaryFile("w", suffix=".jsonl") as bodies:
        bodies.writelines(json.dumps({"text": text, "language": language}) + "\n" for language, text in TEXTS)
        bodies.flush()
        script = Path(__file__).with_suffix(".lua")
        words = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--timeout=99s", "-s", script, url, "--", bodies.name]
        wrk = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        while True:
            if pid:
                print(f"{time.strftime('%H:%M:%S')} {memory(pid):,} MB", flush=True)
            with suppress(subprocess.TimeoutExpired):
                out, _ = wrk.communicate(timeout=10)
                if wrk.returncode:
                    raise SystemExit(f"wrk failed: is there a server at {url}?")
                found: dict[str, float] = json.loads(out.splitlines()[-1])
                return found


async def be_hostile(host: str, port: int, count: int) -> None:
    """Be so many clients of each kind that hold a server up or send what no server understands, without end."""

    async def client(kind: int, number: int) -> None:
        noise = random.Random(number)
        first = (HEAD, HEAD + b"Content-Length: 900\r\n\r\n{", noise.randbytes(999))[kind]
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(first)
                if kind < 2:
                    while not reader.at_eof() and not writer.is_closing():
                        await asyncio.sleep(1)
                        writer.write(b"x")
                        await writer.drain()
                else:
                    await reader.read()
                writer.close()
            await asyncio.sleep(1)

    await asyncio.gather(*(client(kind, number) for kind in range(3) for number in range(count)))


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
    parser.add_argument("--clients", type=int, nargs="+", default=[0, 1, 8, 64], help="0 is the loop")
    parser.add_argument("--hostile", type=int, default=0)
    parser.add_argument("--pid", type=int)
    given = parser.parse_args()
    if 0 in given.clients:
        model = hyperx.HyperX.from_pretrained()
        for language, text in TEXTS:  # what is loaded with the first sentence of a language
            model.predict([text], language=language)
    ask(given.url, len(TEXTS), 3, given.pid)
    if given.hostile:
        place = urlsplit(given.url)
        clients = be_hostile(place.hostname or "", place.port or 80, given.hostile)
        threading.Thread(target=asyncio.run, args=(clients,), daemon=True).start()
    for _ in range(given.rounds):
        for clients in given.clients:
            pid = given.pid if clients else os.getpid()
            used = processor_time(pid) if pid else 0
            found = ask(given.url, clients, given.seconds, given.pid) if clients else loop(model, given.seconds)
            per = f"{found['answers'] / found['seconds']:.1f} sentences/s"
            if pid:
                per += f", {found['answers'] / (processor_time(pid) - used):.1f} in a second of processor time"
            waited = f"half within {found['half']:.3f} s, 99 % within {found['last']:.3f} s; {found['failed']} failed"
            print(f"{f'{clients} clients' if clients else 'loop':10}  {per}; {waited}", flush=True)


if __name__ == "__main__":
    main()
