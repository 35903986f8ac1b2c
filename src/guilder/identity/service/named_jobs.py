"""Jobs about somebody who is named and need not exist: nobody learns from them who does.

The name is sealed for as long as the job is of use (`guilder.platform.ephemeral`), and whoever is
erased takes the jobs along that name them.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

import structlog
from msgspec import json

from guilder.identity.service.names import Named
from guilder.identity.service.one_time_codes import Purpose, pseudonym
from guilder.platform import ephemeral
from guilder.platform.db import Tx
from guilder.platform.envelopes import OuterKeys, Unreadable
from guilder.platform.identifiers import new_id
from guilder.platform.jobs import queue
from guilder.platform.jobs.held import Held

SEND_CODE: Final = "identity.send_code"
TELL_OF_GUESSES: Final = "identity.tell_of_guesses"
TASKS: Final = (SEND_CODE, TELL_OF_GUESSES)
_PLACE: Final = b"identity.jobs|name"
_SEALED: Final = "sealed"

_log = structlog.get_logger("guilder.identity")


class NamedJobs:
    """Leaves such jobs, and tells whoever does one whom it names."""

    def __init__(self, keys: OuterKeys) -> None:
        self._keys = keys

    async def leave(
        self,
        tx: Tx,
        task: str,
        named: Named,
        *,
        purpose: Purpose,
        arguments: Mapping[str, Any],
        life: timedelta,
    ) -> None:
        """Put a job into the queue, unless one waits for this name and purpose."""
        secret = ephemeral.sealed(json.encode(named), at=_PLACE, id_=new_id())
        is_new = await queue.enqueue(
            tx,
            task,
            {**arguments, _SEALED: b64encode(secret.sealed).decode("ascii")},
            key=pseudonym(purpose, named.subject, keys=self._keys),
        )
        if is_new:
            await ephemeral.keep(tx, secret, life=life, keys=self._keys)

    async def named(self, tx: Tx, held: Held) -> Named | None:
        """Whom a job names; None when it has waited too long."""
        secret = b64decode(held.arguments[_SEALED])
        found = await ephemeral.openable(tx, [secret], keys=self._keys)
        try:
            return json.decode(found.open(secret, at=_PLACE), type=Named)
        except Unreadable:
            _log.warning("identity.named_job_too_late")
            return None

    async def over(self, tx: Tx, held: Held) -> None:
        """Forget whom a job named: it is done when this commits."""
        await ephemeral.forget_sealed(tx, [b64decode(held.arguments[_SEALED])])

    async def forget(self, tx: Tx, named: Iterable[Named]) -> None:
        """Take the jobs that have one of these names out of the queue, failed ones too."""
        keys = [
            pseudonym(purpose, one.subject, keys=self._keys) for one in named for purpose in Purpose
        ]
        forgotten = await queue.forget_keys(tx, TASKS, keys)
        await ephemeral.forget_sealed(tx, [b64decode(given[_SEALED]) for given in forgotten])
