"""As which operating-system account PostgreSQL runs: it refuses root, and Guilder may be root.

As root it runs in a user namespace in which root carries another number, so its files stay
root's. Where namespaces are not allowed it runs as ``nobody``. Otherwise it runs as we do.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guilder.platform.postgres.errors import PostgresUnavailable

_NOBODY: Final = 65534


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How to start a program that must not be root: a prefix, and who then owns its files."""

    prefix: tuple[str, ...] = ()
    uid: int
    gid: int

    def give(self, path: Path) -> None:
        """Make this account the owner of ``path``, when it is not."""
        if path.stat().st_uid != self.uid:
            os.chown(path, self.uid, self.gid)


def account_for(owned: Path) -> Account:
    """The account that fits the owner of ``owned``, a folder made by this or an earlier start.

    Raises:
        PostgresUnavailable: the folder is another user's, or root has no way to step down.
    """
    owner = owned.stat()
    if os.geteuid() != 0:
        if owner.st_uid != os.geteuid():
            raise PostgresUnavailable(f"{owned} belongs to another user; set GUILDER_DATA_DIR")
        return _ourselves()
    if owner.st_uid != 0:
        return _stepped_down(owner.st_uid, owner.st_gid)
    if namespaces_allowed():
        return Account(prefix=_namespace(), uid=0, gid=0)
    return _stepped_down(_NOBODY, _NOBODY)


def namespaces_allowed() -> bool:
    """Whether a program can be started in a user namespace of its own here."""
    try:
        probe = subprocess.run([*_namespace(), "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return probe.returncode == 0


def _ourselves() -> Account:
    uid, gid = os.geteuid(), os.getegid()
    if _has_name(uid) or not namespaces_allowed():
        return Account(uid=uid, gid=gid)
    # initdb insists that its user has a name; a namespace lends it one
    return Account(prefix=_namespace(), uid=uid, gid=gid)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _namespace() -> tuple[str, ...]:
    named = sorted(entry.pw_uid for entry in pwd.getpwall() if 0 < entry.pw_uid < _NOBODY)
    number = named[0] if named else _NOBODY
    return ("unshare", "--user", f"--map-user={number}", f"--map-group={number}")


def _stepped_down(uid: int, gid: int) -> Account:
    prefix = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    try:
        probe = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        probe = None
    if probe is None or probe.returncode != 0:
        raise PostgresUnavailable(
            "PostgreSQL does not run as root and neither unshare nor setpriv works here; "
            "run Guilder as an ordinary user or set GUILDER_DATABASE_URL"
        )
    return Account(prefix=prefix, uid=uid, gid=gid)
