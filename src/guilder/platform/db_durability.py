"""Whether a server keeps what it acknowledges."""

from __future__ import annotations

from typing import Final

from guilder.platform.db import Database
from guilder.platform.db_failures import NotDurable

_CHECKSUMS: Final = "data_checksums"
_DURABLE: Final = ("synchronous_commit", "fsync", "full_page_writes", _CHECKSUMS)
_SETTINGS: Final = "SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])"
_WITHOUT_CHECKSUMS: Final = (
    "; stop it and run `pg_checksums --enable`, or, where you cannot, set "
    "GUILDER_ACCEPT_NO_CHECKSUMS=true"
)


async def check_durability(db: Database, *, accept_no_checksums: bool = False) -> None:
    """Prove that this server keeps what it acknowledges, as our own sessions see it.

    Raises:
        NotDurable: names the settings that are off.
    """
    needed = set(_DURABLE)
    if accept_no_checksums:
        needed.remove(_CHECKSUMS)
    rows = await db.fetch(_SETTINGS, sorted(needed))
    off = sorted(row["name"] for row in rows if row["setting"] in {"off", "local"})
    if off:
        hint = _WITHOUT_CHECKSUMS if _CHECKSUMS in off else ""
        raise NotDurable(f"the database runs with {', '.join(off)} off{hint}")
