"""Routes of passkeys: adding one, the list, removing one, and signing in with nothing else."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from guilder.identity.api import AccountType
from guilder.identity.api.passkeys import AddedPasskey, PasskeyView
from guilder.identity.api.second_factors import (
    AlreadyEnrolled,
    InvalidPasskey,
    StepUpRequired,
    TooManyPasskeys,
)
from guilder.identity.api.sessions import UserFrozen
from guilder.identity.http.logins import Login, login_body
from guilder.identity.http.second_factors import (
    PASSKEY_BODY_BYTES,
    TAG,
    DeviceToken,
    asker,
    device,
)
from guilder.identity.service.passkeys import Passkeys
from guilder.kernel.errors import NotFound, ValidationFailed
from guilder.platform.http.route import Access, Answer, Request, Route

_EXAMPLE: Final = {
    "credential": {
        "id": "q3ZBz1dYlqnTKZoJYn5XNw",
        "rawId": "q3ZBz1dYlqnTKZoJYn5XNw",
        "type": "public-key",
        "response": {"clientDataJSON": "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0In0"},
    }
}


class RegisterPasskeyBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the browser made, as ``PublicKeyCredential.toJSON()`` has it, and a name for it."""

    credential: dict[str, Any]
    name: str = "Passkey"


class PasskeyLoginBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the browser gave back, as ``PublicKeyCredential.toJSON()`` has it."""

    credential: dict[str, Any]
    account_type: Literal["customer", "user_admin", "staff"] | None = None
    device_token: DeviceToken | None = None
    remember_device: bool = False


class Passkey(msgspec.Struct, kw_only=True):
    """One passkey. ``synced``: its maker keeps copies on the user's other devices."""

    id: UUID
    name: str
    synced: bool
    added_at: datetime
    last_used_at: datetime | None


class NewPasskey(Passkey, kw_only=True):
    """``recovery_codes`` are shown this once; null: the user has some."""

    recovery_codes: tuple[str, ...] | None


class Removed(msgspec.Struct, kw_only=True):
    """It signs nobody in any more."""

    id: UUID
    removed: bool


class PasskeyRoutes:
    """The handlers, each one use case."""

    def __init__(self, *, passkeys: Passkeys) -> None:
        self._passkeys = passkeys

    async def registration_options(self, request: Request) -> Answer:
        """What a browser makes a passkey from, for five minutes.

        The answer's ``data`` is what ``PublicKeyCredential.parseCreationOptionsFromJSON()``
        takes. Open to a session that began within ten minutes, or that has stepped up.
        """
        options = await self._passkeys.registration_options(asker(request))
        return Answer(data=dict(options))

    async def register(self, request: Request) -> Answer:
        """Keep the passkey that the browser has made. The user's other sessions end.

        From then on, signing in with a password asks for a second factor.
        """
        body: RegisterPasskeyBody = request.body
        added = await self._passkeys.register(
            asker(request), credential=body.credential, name=body.name
        )
        return Answer(data=_new(added))

    async def list(self, request: Request) -> Answer:
        """The caller's passkeys, oldest first."""
        found = await self._passkeys.list(asker(request))
        return Answer(data=tuple(_shown(view) for view in found))

    async def remove(self, request: Request) -> Answer:
        """Remove a passkey, after a step-up by a factor. The user's other sessions end."""
        passkey_id = request.id("passkey_id")
        await self._passkeys.remove(asker(request), passkey_id=passkey_id)
        return Answer(data=Removed(id=passkey_id, removed=True))

    async def login_options(self, request: Request) -> Answer:  # noqa: ARG002 - a handler's shape
        """What a browser asks any passkey of this site for, for five minutes.

        The answer's ``data`` is what ``PublicKeyCredential.parseRequestOptionsFromJSON()`` takes.
        """
        return Answer(data=dict(await self._passkeys.sign_in_options()))

    async def login(self, request: Request) -> Answer:
        """Open a session with a passkey. Nothing else is asked for: it is two factors in one."""
        body: PasskeyLoginBody = request.body
        account_type = None if body.account_type is None else AccountType(body.account_type)
        signed_in = await self._passkeys.sign_in(
            credential=body.credential,
            account_type=account_type,
            device=device(request, token=body.device_token, remember=body.remember_device),
        )
        return Answer(data=login_body(signed_in))

    def routes(self) -> tuple[Route, ...]:
        """Every route of passkeys."""
        return (*self._own_routes(), *self._public_routes())

    def _own_routes(self) -> tuple[Route, ...]:
        own: dict[str, Any] = {"access": Access.ANY_CALLER, "tag": TAG}
        return (
            Route(
                method="POST",
                path="/auth/passkeys/register/options",
                handler=self.registration_options,
                summary="Begin to add a passkey",
                answers=dict[str, Any],
                raises=(StepUpRequired, TooManyPasskeys),
                **own,
            ),
            Route(
                method="POST",
                path="/auth/passkeys/register/verify",
                handler=self.register,
                summary="Add a passkey",
                body=RegisterPasskeyBody,
                answers=NewPasskey,
                status=201,
                raises=(ValidationFailed, InvalidPasskey, AlreadyEnrolled, TooManyPasskeys),
                max_body_bytes=PASSKEY_BODY_BYTES,
                example={**_EXAMPLE, "name": "Anna's phone"},
                **own,
            ),
            Route(
                method="GET",
                path="/auth/passkeys",
                handler=self.list,
                summary="The caller's passkeys",
                answers=tuple[Passkey, ...],
                **own,
            ),
            Route(
                method="DELETE",
                path="/auth/passkeys/{passkey_id}",
                handler=self.remove,
                summary="Remove a passkey",
                answers=Removed,
                raises=(NotFound, StepUpRequired),
                **own,
            ),
        )

    def _public_routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/auth/passkeys/login/options",
                handler=self.login_options,
                access=Access.PUBLIC,
                summary="Begin to sign in with a passkey",
                tag=TAG,
                answers=dict[str, Any],
            ),
            Route(
                method="POST",
                path="/auth/passkeys/login/verify",
                handler=self.login,
                access=Access.PUBLIC,
                summary="Sign in with a passkey",
                tag=TAG,
                body=PasskeyLoginBody,
                answers=Login,
                raises=(InvalidPasskey, UserFrozen),
                max_body_bytes=PASSKEY_BODY_BYTES,
                example=_EXAMPLE,
            ),
        )


def _shown(view: PasskeyView) -> Passkey:
    return Passkey(
        id=view.id,
        name=view.name,
        synced=view.is_synced,
        added_at=view.added_at,
        last_used_at=view.last_used_at,
    )


def _new(added: AddedPasskey) -> NewPasskey:
    shown = msgspec.structs.asdict(_shown(added.passkey))
    return NewPasskey(**shown, recovery_codes=added.recovery_codes)
