"""The keys that sign heads: one signs, and those before it verify what they signed, for good.

Of a key that was succeeded only the public half is kept, with the time it was. Something that
bears a later time is not its own, whoever signed it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from msgspec import Struct

from guilder.platform.key_files import KeyFiles, KeyUnusable, Passphrase
from guilder.platform.keys import KeyFolder, SigningKey, UnixTime, signing_key

_SUFFIX: Final = ".jwk"
_RETIRED_SUFFIX: Final = ".retired"


class HeadsKey(Struct, frozen=True, kw_only=True):
    """What verifies heads. ``until`` is when another key succeeded it, in Unix seconds."""

    kid: str
    key: ECKey
    until: int | None


class _Retired(Struct, kw_only=True):
    retired_at: int
    key: dict[str, Any]


class HeadsKeys:
    """The keys of one folder, which sign nothing else."""

    def __init__(
        self, folder: Path, *, passphrase: Passphrase | None = None, now: UnixTime = time.time
    ) -> None:
        self._files = KeyFiles(folder, passphrase=passphrase)
        self._first = KeyFolder(folder, passphrase=passphrase, now=now)
        self._now = now

    def ensure(self) -> None:
        """Make the first key when there is none. Safe in several processes.

        Raises:
            KeyUnusable: a key file is damaged, or another passphrase's.
        """
        self._first.ensure()

    def signing_key(self) -> SigningKey:
        """The key that signs now, read anew: one that was succeeded a moment ago must not.

        Raises:
            KeyUnusable: a key file is damaged or another passphrase's, or there is none.
        """
        private = self._private()
        if not private:
            raise KeyUnusable(f"{self._files.folder}: there is no key that signs heads")
        return private[-1]

    def find(self, kid: str) -> HeadsKey | None:
        """The key with this name, whether it still signs or was succeeded.

        Raises:
            KeyUnusable: a key file is damaged, or another passphrase's.
        """
        retired = self._files.folder / f"{kid}{_RETIRED_SUFFIX}"
        if retired in self._files.ending(_RETIRED_SUFFIX):
            return _retired(retired, kid=kid)
        found = next((key for key in self._private() if key.kid == kid), None)
        return None if found is None else HeadsKey(kid=kid, key=found.key, until=None)

    def rotate(self) -> SigningKey:
        """Add a key that signs from now on, and destroy the private half of every other.

        Call it while nothing is being published. If it is cut short, call it again.

        Raises:
            KeyUnusable: a key file is damaged, or another passphrase's.
        """
        self.ensure()
        now = int(self._now())
        added = SigningKey.generate(made_at=now, signs_from=now)
        with self._files.locked():
            succeeded = self._private()
            self._files.write(f"{added.kid}{_SUFFIX}", added.to_json().encode())
            for key in succeeded:
                # the next whole second: what was signed in this one was signed before
                self._retire(key, at=now + 1)
        return added

    def _retire(self, key: SigningKey, *, at: int) -> None:
        text = msgspec.json.encode(_Retired(retired_at=at, key=key.public()))
        self._files.publish(f"{key.kid}{_RETIRED_SUFFIX}", text)
        self._files.delete(self._files.folder / f"{key.kid}{_SUFFIX}")

    def _private(self) -> list[SigningKey]:
        found = [signing_key(*found) for found in self._files.read_all(_SUFFIX).items()]
        return sorted(found, key=lambda key: (key.signs_from, key.kid))


def _retired(path: Path, *, kid: str) -> HeadsKey:
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_Retired)
        key = ECKey.import_key({name: stored.key[name] for name in ("kty", "crv", "x", "y")})
    except (OSError, ValueError, KeyError, JoseError) as error:
        raise KeyUnusable(f"{path}: this is not a key that was succeeded") from error
    if key.thumbprint() != kid:
        raise KeyUnusable(f"{path}: a key is named by its thumbprint")
    return HeadsKey(kid=kid, key=key, until=stored.retired_at)
