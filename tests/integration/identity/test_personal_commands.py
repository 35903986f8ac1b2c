"""``keys rotate-personal``, run as somebody at a shell would."""

from __future__ import annotations

import asyncpg

from tests.integration.identity.test_commands import Shell, shell

__all__ = ["shell"]


async def test_personal_keys_rotate_at_the_shell_which_says_who_could_not_be_encrypted(
    shell: Shell,
    superuser: asyncpg.Connection,
) -> None:
    create = ("admin", "create", "--email", "olga@guilder.test", "--name", "Olga Berg")
    await shell.guilder(*create, GUILDER_ADMIN_PASSWORD="NewSecurePass456")

    prepared = await shell.guilder("keys", "rotate-personal", "--prepare")
    killed = await shell.guilder(
        *("keys", "rotate-personal", "--new-keys"),
        GUILDER_FAILPOINTS="identity.after_rotated_batch=hit:2:kill",
    )
    rotated = await shell.guilder("keys", "rotate-personal", "--new-keys")

    assert (prepared[0], killed[0], rotated[0]) == (0, -9, 0)
    assert rotated[1] == (
        "Keys wrapped anew: 1. Found by a new index: 0. Encrypted: 0. Encrypted again: 1.\n"
    )
    used = await superuser.fetch("SELECT id FROM identity.index_keys")
    assert [f"{row['id']}.kek" for row in used] == prepared[1].split()[1:2]
    assert await shell.roles_of("olga@guilder.test", reader=superuser) == ["admin"]

    await superuser.execute(
        "INSERT INTO identity.users (id, email, email_key, full_name, password_hash) VALUES "
        "(gen_random_uuid(), 'olga@guilder.test', 'olga@guilder.test', 'Olga', '$argon2id$')"
    )
    status, _, problems = await shell.guilder("keys", "rotate-personal")

    assert status == 1
    assert problems.splitlines()[-1] == (
        "guilder: 1 users are still in clear: somebody else has registered with their email or "
        "phone; the log names them"
    )
