"""Makes the identifiers that Guilder chooses itself: UUIDs (RFC 9562), mostly in order of time."""

from __future__ import annotations

from uuid import UUID

from uuid_utils import UUID as RustUUID  # noqa: N811 - beside the other two
from uuid_utils import uuid5, uuid7

from guilder.platform.db import DriverUUID


def new_id() -> UUID:
    """A new UUID version 7, of the database driver's own kind.

    It is a `uuid.UUID` like any other; as text and as bytes, which every id becomes several times
    on its way, it is had for a tenth of the time.
    """
    return DriverUUID(uuid7().bytes)


def named_id(namespace: UUID, name: str) -> UUID:
    """The UUID version 5 of a name: always the same one, in an eighth of the time."""
    return DriverUUID(uuid5(RustUUID(bytes=namespace.bytes), name).bytes)


def native(id_: UUID) -> UUID:
    """The same id of the database driver's own kind, for one that is looked up and written often.

    It is equal to the other and has the same hash, in a sixth of the time.
    """
    return DriverUUID(id_.bytes)


def read_id(text: str) -> UUID:
    """The id that a text names in its usual hyphenated form, of the database driver's own kind.

    Raises:
        ValueError: it is in no such form.
    """
    found = DriverUUID(text)
    if str(found) != text.lower():
        raise ValueError("the text is no UUID in its usual form")
    return found


def new_id_text() -> str:
    """A new UUID version 7 as text, for what is only ever shown (six times cheaper)."""
    return str(uuid7())
