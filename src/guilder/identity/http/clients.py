"""Routes of machine clients: people's own, and those of the house in the hands of staff."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta, Struct

from guilder.identity.api.clients import (
    ClientNotFound,
    ClientView,
    ClientWithSecret,
    TooManyClients,
)
from guilder.identity.api.roles import BeyondOwnPermissions
from guilder.identity.api.second_factors import StepUpRequired
from guilder.identity.domain.clients import MOST_OVERLAP_S, USUAL_OVERLAP_S
from guilder.identity.http.second_factors import asker
from guilder.identity.service.clients import BEFORE_ALL, Acting, MachineClients
from guilder.kernel.errors import ValidationFailed
from guilder.kernel.ids import UserId
from guilder.platform.http.fields import Name
from guilder.platform.http.pages import Page, decode_cursor, encode_cursor, page_meta
from guilder.platform.http.route import Answer, Handler, Request, Route

_TAG: Final = "Machine clients"
_OWN: Final = "/oauth/clients"
_OF_THE_HOUSE: Final = "/admin/oauth/clients"

Scope = Annotated[str, Meta(min_length=3, max_length=81)]
Scopes = Annotated[list[Scope], Meta(min_length=1, max_length=200)]
Overlap = Annotated[int, Meta(ge=0, le=MOST_OVERLAP_S)]


class NewOwnClient(Struct, forbid_unknown_fields=True, kw_only=True):
    """A client that acts in the caller's name. ``scopes`` are permissions the caller has."""

    name: Name
    scopes: Scopes


class NewHouseClient(NewOwnClient, forbid_unknown_fields=True, kw_only=True):
    """A client that acts in its own name, and why there is one."""

    reason: Name


class Rotation(Struct, forbid_unknown_fields=True, kw_only=True):
    """For how many seconds the secret before stays good, and whether tokens end at once."""

    overlap_s: Overlap = USUAL_OVERLAP_S
    end_tokens: bool = False


class HouseRotation(Rotation, forbid_unknown_fields=True, kw_only=True):
    """The same, and why."""

    reason: Name


class Removal(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why a client goes."""

    reason: Name


class ClientBody(Struct, kw_only=True, omit_defaults=True):
    """A machine client. Its ``client_secret`` is shown when it is made, and never again."""

    client_id: UUID
    name: str
    scopes: tuple[str, ...]
    user_id: UUID | None
    created_at: datetime
    rotated_at: datetime
    previous_secret_until: datetime | None
    last_used_at: datetime | None
    client_secret: str | None = None


class ClientRoutes:
    """The handlers behind the routes."""

    def __init__(self, clients: MachineClients) -> None:
        self._clients = clients

    async def add(self, request: Request) -> Answer:
        """The answer has the client's secret, which is not shown again.

        A session that began a while ago has to prove itself first, at ``POST /auth/step-up``.
        """
        body: NewOwnClient = request.body
        made = await self._clients.add(_own(request), name=body.name, scopes=body.scopes)
        return Answer(data=_with_secret(made))

    async def list(self, request: Request) -> Answer:
        """The caller's clients in order of their making."""
        return await self._page(request, owner_id=_owner(request))

    async def rotate(self, request: Request) -> Answer:
        """For a day, or as long as is said, the secret before is good beside the new one."""
        body: Rotation = request.body
        made = await self._clients.rotate(
            _own(request),
            _client_id(request),
            overlap_s=body.overlap_s,
            ends_tokens=body.end_tokens,
        )
        return Answer(data=_with_secret(made))

    async def delete(self, request: Request) -> Answer:
        """Its tokens are accepted no more."""
        acting = Acting(caller=request.user, owner_id=_owner(request))
        await self._clients.delete(acting, _client_id(request))
        return Answer(data=None)

    async def add_to_house(self, request: Request) -> Answer:
        """Its scopes are permissions that the caller has; it keeps them whatever becomes of them.

        None of them is about what is one's own, as ``wallets:write`` is: nobody would own it.

        The answer has the client's secret, which is not shown again.
        """
        body: NewHouseClient = request.body
        acting = _staff(request, reason=body.reason)
        return Answer(
            data=_with_secret(await self._clients.add(acting, name=body.name, scopes=body.scopes))
        )

    async def list_of_house(self, request: Request) -> Answer:
        """Clients that act in their own name, in order of their making."""
        return await self._page(request, owner_id=None)

    async def rotate_of_house(self, request: Request) -> Answer:
        """For a day, or as long as is said, the secret before is good beside the new one."""
        body: HouseRotation = request.body
        made = await self._clients.rotate(
            _staff(request, reason=body.reason),
            _client_id(request),
            overlap_s=body.overlap_s,
            ends_tokens=body.end_tokens,
        )
        return Answer(data=_with_secret(made))

    async def delete_from_house(self, request: Request) -> Answer:
        """Its tokens are accepted no more."""
        body: Removal = request.body
        await self._clients.delete(_staff(request, reason=body.reason), _client_id(request))
        return Answer(data=None)

    async def _page(self, request: Request, *, owner_id: UserId | None) -> Answer:
        page: Page = request.query
        filters = {"list": "clients", "owner": owner_id}
        after = BEFORE_ALL
        if page.cursor is not None:
            after = decode_cursor(page.cursor, UUID, filters=filters)
        found = list(await self._clients.page(owner_id=owner_id, after=after, limit=page.limit + 1))
        more = len(found) > page.limit
        found = found[: page.limit]
        cursor = encode_cursor(found[-1].id, filters=filters) if more else None
        return Answer(data=[client_body(client) for client in found], meta=page_meta(cursor))

    def routes(self) -> tuple[Route, ...]:
        """People's own clients, and the house's."""
        return (
            _adding(_OWN, self.add, body=NewOwnClient, access="clients:write"),
            _listing(_OWN, self.list, access="clients:read"),
            _rotating(_OWN, self.rotate, body=Rotation, access="clients:write"),
            _deleting(_OWN, self.delete, body=None, access="clients:write"),
            _adding(
                _OF_THE_HOUSE, self.add_to_house, body=NewHouseClient, access="clients:write_any"
            ),
            _listing(_OF_THE_HOUSE, self.list_of_house, access="clients:read_any"),
            _rotating(
                _OF_THE_HOUSE, self.rotate_of_house, body=HouseRotation, access="clients:write_any"
            ),
            _deleting(
                _OF_THE_HOUSE, self.delete_from_house, body=Removal, access="clients:write_any"
            ),
        )


def client_body(client: ClientView, *, secret: str | None = None) -> ClientBody:
    """A client as it is answered."""
    return ClientBody(
        client_id=client.id,
        name=client.name,
        scopes=client.scopes,
        user_id=client.owner_id,
        created_at=client.made_at,
        rotated_at=client.rotated_at,
        previous_secret_until=client.previous_secret_until,
        last_used_at=client.last_used_at,
        client_secret=secret,
    )


def _with_secret(made: ClientWithSecret) -> ClientBody:
    return client_body(made.client, secret=made.secret)


def _client_id(request: Request) -> UserId:
    return UserId(request.id("client_id"))


def _owner(request: Request) -> UserId:
    return request.user.customer_id or request.user.user_id


def _own(request: Request) -> Acting:
    """The caller on their own clients, with the session that has to have proved itself.

    Raises:
        NotPermitted: the caller has a token without a session.
    """
    return Acting(caller=request.user, owner_id=_owner(request), asker=asker(request))


def _staff(request: Request, *, reason: str) -> Acting:
    return Acting(caller=request.user, owner_id=None, reason=reason)


def _adding(path: str, handler: Handler, *, body: type[Struct], access: str) -> Route:
    is_own = path == _OWN
    whose = "" if is_own else "_any"
    scopes = [f"payments:read{whose}", f"wallets:read{whose}"]
    example: dict[str, object] = {"name": "Bookkeeping", "scopes": scopes}
    return Route(
        method="POST",
        path=path,
        handler=handler,
        access=access,
        summary="Make a machine client" if is_own else "Make a machine client of the house",
        tag=_TAG,
        body=body,
        answers=ClientBody,
        status=201,
        raises=(
            ValidationFailed,
            BeyondOwnPermissions,
            *((TooManyClients, StepUpRequired) if is_own else ()),
        ),
        example=example if is_own else {**example, "reason": "The new bookkeeping needs one."},
    )


def _listing(path: str, handler: Handler, *, access: str) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        access=access,
        summary="One's machine clients" if path == _OWN else "Machine clients of the house",
        tag=_TAG,
        query=Page,
        answers=ClientBody,
        is_list=True,
    )


def _rotating(path: str, handler: Handler, *, body: type[Struct], access: str) -> Route:
    return Route(
        method="POST",
        path=f"{path}/{{client_id}}/rotate-secret",
        handler=handler,
        access=access,
        summary="Give a machine client a new secret",
        tag=_TAG,
        body=body,
        answers=ClientBody,
        raises=(ClientNotFound, *((StepUpRequired,) if path == _OWN else ())),
    )


def _deleting(path: str, handler: Handler, *, body: type[Struct] | None, access: str) -> Route:
    return Route(
        method="DELETE",
        path=f"{path}/{{client_id}}",
        handler=handler,
        access=access,
        summary="Delete a machine client",
        tag=_TAG,
        body=body,
        status=204,
        raises=(ClientNotFound,),
    )
