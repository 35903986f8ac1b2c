"""The commands of identity, run as somebody at a shell would: ``admin create``, ``keys rotate``."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from guilder.identity.api import Applicant
from guilder.identity.module import build_registration
from guilder.identity.store.person_keys import EMAIL, PersonalKeys
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.key_files import Passphrase
from guilder.platform.keys import KeyFolder
from guilder.platform.postgres.folder import SUPERUSER
from tests.support.database import OwnDatabase
from tests.support.residents import prove_email

FIRST = "correct horse battery staple"
SECOND = "a rather different passphrase"
ROLES_OF = """
    SELECT array_agg(role ORDER BY role) FROM identity.role_assignments r
    JOIN identity.contact_digests d ON d.user_id = r.account_id WHERE digest = ANY($1::bytea[])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Runs ``guilder`` on this module's database and a data folder of its own."""

    database_url: str
    folder: Path

    async def guilder(self, *arguments: str, typed: str = "", **more: str) -> tuple[int, str, str]:
        """Exit status, output and error output of a command."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "guilder.apps.cli", *arguments),
            cwd=self.folder,
            env={
                **inherited,
                "GUILDER_DATABASE_URL": self.database_url,
                "GUILDER_DATA_DIR": str(self.folder),
                **more,
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, problems = await process.communicate(typed.encode())
        assert process.returncode is not None
        return process.returncode, out.decode(), problems.decode()

    async def roles_of(self, email: str, *, reader: asyncpg.Connection) -> object:
        """The roles of whoever has this email, whom only the key folder can find."""
        keys = PersonalKeys(OuterKeys(self.folder / "keys"))
        return await reader.fetchval(ROLES_OF, keys.digests(EMAIL, email))


@pytest.fixture
def shell(database: OwnDatabase, tmp_path: Path) -> Shell:
    return Shell(database_url=database.url(SUPERUSER), folder=tmp_path)


async def test_admin_is_made_with_a_password_from_the_environment(
    shell: Shell, superuser: asyncpg.Connection
) -> None:
    create = ("admin", "create", "--email", "lena@guilder.test", "--name", "Lena Berg")

    status, told, problems = await shell.guilder(*create, GUILDER_ADMIN_PASSWORD="NewSecurePass456")

    assert (status, problems) == (0, "")
    assert told.startswith("lena@guilder.test is an administrator")
    assert await shell.roles_of("lena@guilder.test", reader=superuser) == ["admin"]


async def test_admin_is_asked_for_what_is_missing(
    shell: Shell, superuser: asyncpg.Connection
) -> None:
    typed = "mira@guilder.test\nMira Berg\nOldPass123\nOldPass123\n"

    status, _, _ = await shell.guilder("admin", "create", typed=typed)

    assert status == 0
    assert await shell.roles_of("mira@guilder.test", reader=superuser) == ["admin"]


async def test_an_existing_user_is_shown_and_confirmed_before_they_administrate(
    shell: Shell, db: Database, superuser: asyncpg.Connection
) -> None:
    registration = build_registration(db=db, contacts=OuterKeys(shell.folder / "keys"))
    anna = await registration.register(
        Applicant(
            email="anna@example.com", full_name="Anna Rao", phone="+919876500400", password=FIRST
        )
    )
    create = ("admin", "create", "--email", "anna@example.com")
    refused = await shell.guilder(*create, "--existing", GUILDER_ADMIN_PASSWORD="NewSecurePass456")
    await prove_email(superuser, str(anna.id))

    declined = await shell.guilder(*create, typed="n\n")
    before = await shell.roles_of("anna@example.com", reader=superuser)
    confirmed = await shell.guilder(*create, typed="y\n")

    assert (refused[0], declined[0], confirmed[0]) == (1, 1, 0)
    assert "not proved" in refused[2]
    assert f"Anna Rao, registered on {anna.created_at:%d %B %Y}" in declined[2]
    assert before == ["customer"]
    assert await shell.roles_of("anna@example.com", reader=superuser) == ["admin", "customer"]
    assert "under the password that they have" in confirmed[1]


async def test_weak_password_is_refused_in_a_line(
    shell: Shell, superuser: asyncpg.Connection
) -> None:
    create = ("admin", "create", "--email", "nils@guilder.test", "--name", "Nils Berg")

    status, told, problems = await shell.guilder(*create, GUILDER_ADMIN_PASSWORD="password1")

    assert (status, told) == (1, "")
    assert problems == "guilder: the password is among the first that attackers try\n"
    assert await shell.roles_of("nils@guilder.test", reader=superuser) is None


async def test_rotation_at_the_shell_reaches_a_running_process(shell: Shell) -> None:
    running = KeyFolder(shell.folder / "keys", now=lambda: wall_s)
    wall_s = 0.0
    running.ensure()

    status, told, _ = await shell.guilder("keys", "rotate")

    assert status == 0
    wall_s = 3600.0
    kids = {key["kid"] for key in await running.public_keys()}
    assert len(kids) == 2
    assert told.split()[1] in kids


async def test_keys_are_encrypted_at_the_shell_and_serve_as_before(shell: Shell) -> None:
    folder = shell.folder / "keys"
    before = KeyFolder(folder)
    before.ensure()
    kid = (await before.signing_key()).kid
    KeyFolder(folder / "heads").ensure()

    status, told, problems = await shell.guilder("keys", "encrypt", GUILDER_KEY_PASSPHRASE=FIRST)

    assert (status, told, problems) == (0, "Key files encrypted: 2.\n", "")
    after = KeyFolder(folder, passphrase=Passphrase(text=FIRST))
    assert (await after.signing_key()).kid == kid
    status, _, problems = await shell.guilder("keys", "rotate")
    assert status == 1
    assert "is encrypted: set GUILDER_KEY_PASSPHRASE" in problems


async def test_passphrase_is_changed_from_one_file_to_another(shell: Shell) -> None:
    former, new = shell.folder / "former", shell.folder / "new"
    former.write_text(f"{FIRST}\n")
    new.write_text(f"{SECOND}\nwhat follows is of no meaning\n")
    KeyFolder(shell.folder / "keys", passphrase=Passphrase(text=FIRST)).ensure()
    change = ("keys", "encrypt", "--former-passphrase-file", str(former))

    results = [await shell.guilder(*change, GUILDER_KEY_PASSPHRASE_FILE=str(new)) for _ in "12"]

    assert [told for _, told, _ in results] == [
        "Key files encrypted: 1.\n",
        "All key files are encrypted already.\n",
    ]
    KeyFolder(shell.folder / "keys", passphrase=Passphrase(text=SECOND)).ensure()


async def test_passphrase_that_is_wrong_is_told_and_not_shown(shell: Shell) -> None:
    KeyFolder(shell.folder / "keys", passphrase=Passphrase(text=FIRST)).ensure()

    status, _, problems = await shell.guilder("keys", "rotate", GUILDER_KEY_PASSPHRASE=SECOND)

    assert status == 1
    assert "GUILDER_KEY_PASSPHRASE is not its own" in problems
    assert SECOND not in problems
