"""What open notification streams cost a running Guilder: memory for each, by the kernel's count.

``python benchmarks/streams.py --pid PID [--data-dir .guilder] [--port 8000] [--streams 1000]``,
with the process id of ``guilder up``. Each stream is another person's; tokens are signed with the
installation's own key, so nobody has to be registered.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from pathlib import Path

from guilder.platform import access_tokens
from guilder.platform.access_tokens import AccessClaims
from guilder.platform.auth import AUDIENCE, ISSUER
from guilder.platform.identifiers import new_id
from guilder.platform.keys import KeyFolder, SigningKey

AT_ONCE = 50
TOKEN_LIFE_S = 600


def token(key: SigningKey) -> str:
    now = int(time.time())
    claims = AccessClaims(
        iss=ISSUER,
        aud=AUDIENCE,
        sub=new_id(),
        jti=new_id(),
        iat=now,
        exp=now + TOKEN_LIFE_S,
        account_type="customer",
        roles=("customer",),
        email="",
        customer_id=None,
        sid=None,
    )
    return access_tokens.sign(claims, key=key)


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1])


async def open_stream(
    port: int, key: SigningKey, *, gate: asyncio.Semaphore
) -> asyncio.StreamWriter:
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = (
            "GET /api/v1/notifications/stream HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token(key)}\r\n\r\n"
        )
        writer.write(head.encode("ascii"))
        await reader.readuntil(b": open\n\n")
        return writer


async def measure(*, pid: int, port: int, data_dir: Path, streams: int) -> None:
    folder = KeyFolder(data_dir / "keys")
    folder.ensure()
    key = await folder.signing_key()
    gate = asyncio.Semaphore(AT_ONCE)
    warm = [await open_stream(port, key, gate=gate) for _ in range(10)]
    before, began = resident_kib(pid), time.perf_counter()
    opened = await asyncio.gather(*(open_stream(port, key, gate=gate) for _ in range(streams)))
    took_s = time.perf_counter() - began
    after = resident_kib(pid)
    each = (after - before) / streams
    print(f"{streams} streams opened in {took_s:.1f} s")
    print(f"memory {before / 1024:.0f} MiB -> {after / 1024:.0f} MiB, {each:.0f} KiB for each")
    for writer in (*warm, *opened):
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--data-dir", type=Path, default=Path(".guilder"))
    parser.add_argument("--streams", type=int, default=1000)
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(
        measure(pid=given.pid, port=given.port, data_dir=given.data_dir, streams=given.streams)
    )


if __name__ == "__main__":
    main()
