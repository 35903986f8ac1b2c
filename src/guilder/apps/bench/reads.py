"""Figures of reading: a balance, and a page at the far end of a long history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from guilder.apps.bench.figure import Detail, Figure
from guilder.apps.bench.ground import Ground
from guilder.apps.bench.http import Load, best_of
from guilder.apps.bench.load import Loaded, Mode
from guilder.apps.bench.serving import Served
from guilder.apps.bench.town import Person, Town
from guilder.platform.http.pages import encode_cursor

_PAGE: Final = 50
_PAGE_CONNECTIONS: Final = 16


async def balance(
    ground: Ground, load: Load, *, workers: Sequence[int], town: Town, base: float | None
) -> Figure:
    """Balances a second, of any wallet, with the number of workers that serves best."""
    file = _list(
        ground.folder / "balances.tsv",
        (
            (person, f"/api/v1/wallets/{wallet}/balance")
            for person in town.people
            for wallet in person.wallets
        ),
    )

    async def measured(server: Served) -> tuple[Loaded, Detail]:
        return await load.put(server, mode=Mode.GET, file=file)

    loaded, detail = await best_of(ground, workers=workers, measured=measured)
    return Figure(
        name="balance",
        title="balances over HTTP",
        unit="/s",
        value=loaded.rate,
        against="pgbench",
        ratio=None if base is None else loaded.rate / base,
        target=3.0,
        detail=detail,
    )


async def deep_page(load: Load, *, on: Served, town: Town, folder: Path, entries: int) -> Figure:
    """Pages a second at the far end of a wallet's history, against its first page.

    The wallet is the first one, which has at least ``entries`` entries.
    """
    person = town.people[0]
    wallet = person.wallets[0]
    path = f"/api/v1/wallets/{wallet}/history?limit={_PAGE}"
    cursor = encode_cursor(_PAGE + 1, filters={"list": "history", "wallet": wallet})
    rates: list[float] = []
    details = []
    for name, where in (("first", path), ("deep", f"{path}&cursor={cursor}")):
        file = _list(folder / f"{name}-page.tsv", [(person, where)])
        loaded, detail = await load.put(on, mode=Mode.GET, file=file, connections=_PAGE_CONNECTIONS)
        rates.append(loaded.rate)
        details.append(detail)
    first, deep = rates
    return Figure(
        name="history",
        title="pages at the end of a long history",
        unit="/s",
        value=deep,
        against="the first page",
        ratio=deep / first,
        target=0.95,
        detail={"entries": entries, "first page /s": round(first), **details[1]},
    )


def _list(path: Path, reads: Iterable[tuple[Person, str]]) -> Path:
    path.write_text("".join(f"{person.token}\t{where}\n" for person, where in reads))
    path.chmod(0o600)
    return path
