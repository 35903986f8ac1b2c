"""``people erase``, run as somebody at a shell would."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from tests.integration.identity.test_commands import Shell, shell

__all__ = ["shell"]


async def test_people_are_erased_at_the_shell_unless_they_have_to_stay(
    shell: Shell,
    superuser: asyncpg.Connection,
) -> None:
    create = ("admin", "create", "--email", "rosa@guilder.test", "--name", "Rosa Berg")
    await shell.guilder(*create, GUILDER_ADMIN_PASSWORD="NewSecurePass456")
    rosa = await superuser.fetchval(
        "SELECT id FROM identity.users ORDER BY created_at DESC LIMIT 1"
    )
    erase = ("people", "erase", str(rosa), "--reason", "By letter")

    kept, _, why = await shell.guilder(*erase)
    await superuser.execute("DELETE FROM identity.role_assignments WHERE account_id = $1", rosa)
    erased, told, _ = await shell.guilder(*erase)
    nobody, _, unknown = await shell.guilder("people", "erase", str(UUID(int=7)), "--reason", "x")

    assert (kept, why) == (1, "guilder: This user has a role of staff. Take it from them first.\n")
    assert erased == 0
    assert told.startswith(f"{rosa} was erased at ")
    listed = (shell.folder / "heads" / "erased-users.jsonl").read_text(encoding="utf-8")
    assert str(rosa) in listed
    assert (nobody, unknown.startswith("guilder: ")) == (1, True)
