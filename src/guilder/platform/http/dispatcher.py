"""Takes one request to its route: who may, what was sent, the use case, the envelope.

It knows nothing of sockets: `guilder.platform.http.asgi` brings requests to it, and the gateway
calls it without going through the network.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Final, Protocol

import structlog

from guilder.kernel.errors import NotFound, NotPermitted, Overloaded, Refusal, Unauthenticated
from guilder.platform.auth import Caller
from guilder.platform.db import LostRead
from guilder.platform.denials import Denial, Denials, NotKept, is_denial
from guilder.platform.http.endpoint import Endpoint, template_of
from guilder.platform.http.incoming import Incoming
from guilder.platform.http.metrics import RequestMetrics
from guilder.platform.http.paths import ApiPaths, Found
from guilder.platform.http.refusals import ClientGone, MethodNotAllowed
from guilder.platform.http.reply import Reply, header_pairs, reply_of
from guilder.platform.http.route import AnyAnswer, RefusedAnswer, Request, Route
from guilder.platform.http.status import bug_reply, refusal_reply
from guilder.platform.origin import Origin, begin

_log = structlog.get_logger("guilder.http")

_ANY: Final = "(no route)"
_EVENTS: Final = b"text/event-stream"


class TokenVerifier(Protocol):
    """Knows whose access token it is."""

    def cached(self, token: str) -> Caller | None:
        """The caller, if this token was verified before and is still good; costs next to nothing.

        None says nothing about the token.
        """
        ...

    async def verify(self, token: str) -> Caller:
        """The caller.

        Raises:
            Unauthenticated: the token is malformed, expired, revoked or signed by someone else.
        """
        ...


class Dispatcher:
    """All routes of some contexts behind one entrance."""

    def __init__(
        self,
        routes: Mapping[str, Iterable[Route]],
        *,
        verifier: TokenVerifier,
        metrics: RequestMetrics,
        service_names: Iterable[str] = (),
        denials: Denials | None = None,
    ) -> None:
        self._verifier = verifier
        self._denials = NotKept() if denials is None else denials
        self._unmatched = metrics.meter(method=_ANY, template=_ANY)
        self._paths: ApiPaths[Endpoint] = ApiPaths(service_names)
        self.endpoints: list[Endpoint] = []
        for owner, declared in routes.items():
            for route in declared:
                meter = metrics.meter(method=route.method, template=template_of(route))
                endpoint = Endpoint(route, owner=owner, meter=meter)
                self.endpoints.append(endpoint)
                self._paths.add(
                    route.path, method=route.method, value=endpoint, at_root=route.at_root
                )
        self._paths.freeze()

    async def respond(self, incoming: Incoming) -> Reply:
        """The answer to a request, whatever happens inside.

        Raises:
            ClientGone: there is nobody left to answer.
        """
        found = self.find(incoming)
        return await self.answer(incoming, found)

    def find(self, incoming: Incoming) -> Found[Endpoint] | None:
        """What stands under the request's path, in either spelling.

        From now on it is counted, and has a key if it moves money.
        """
        found = self._paths.find(incoming.path)
        endpoint = None if found is None else found.methods.get(_method(incoming))
        if endpoint is None:
            incoming.meter = self._unmatched
        else:
            incoming.meter = endpoint.meter
            if endpoint.route.moves_money:
                endpoint.choose_key(incoming)
        return found

    def endpoint_of(self, incoming: Incoming, found: Found[Endpoint] | None) -> Endpoint:
        """The endpoint for the request's method.

        Raises:
            NotFound: nothing stands under its path.
            MethodNotAllowed: something does, without this method.
        """
        if found is None:
            raise NotFound
        endpoint = found.methods.get(_method(incoming))
        if endpoint is None:
            allowed = set(found.methods) | ({"HEAD"} if "GET" in found.methods else set())
            raise MethodNotAllowed(tuple(sorted(allowed)))
        return endpoint

    async def answer(self, incoming: Incoming, found: Found[Endpoint] | None) -> Reply:
        """The answer of what was found, whatever happens inside.

        Raises:
            ClientGone: there is nobody left to answer.
        """
        try:
            endpoint = self.endpoint_of(incoming, found)
            reply = await self._call(endpoint, incoming, found.values if found else ())
        except Refusal as refusal:
            if is_denial(refusal):
                self._denials.note(_denial(refusal, incoming))
            reply = refusal_reply(refusal, request_id=incoming.request_id)
        except ClientGone:
            raise
        except Exception:  # noqa: BLE001 - the last one who can answer; the trace goes to the log
            _log.exception("http.bug", request_id=incoming.request_id, path=_shape(incoming))
            reply = bug_reply(request_id=incoming.request_id)
        reply.headers += incoming.key_header()
        return reply

    def knows(self, incoming: Incoming) -> bool:
        """Whether the request's token was verified before; looks at nothing expensive."""
        token = incoming.token()
        if token is not None and not incoming.identified:
            incoming.caller = self._verifier.cached(token)
            incoming.identified = incoming.caller is not None
        return incoming.identified

    async def identify(self, incoming: Incoming) -> Caller | None:
        """Whose request it is; None when it carries no token.

        Raises:
            Unauthenticated: it carries one that is not good.
        """
        if incoming.token_is_bad:
            raise Unauthenticated
        if incoming.identified:
            return incoming.caller
        token = incoming.token()
        if token is not None:
            try:
                incoming.caller = self._verifier.cached(token) or await self._verifier.verify(token)
            except Unauthenticated:
                incoming.token_is_bad = True
                raise
        incoming.identified = True
        return incoming.caller

    async def _call(self, endpoint: Endpoint, incoming: Incoming, values: tuple[str, ...]) -> Reply:
        route = endpoint.route
        caller = await self._admitted(endpoint, incoming)
        actor_id = None if caller is None else caller.actor_id
        begin(Origin(actor_id, incoming.request_id, incoming.trace_id()))
        request = Request(
            method=route.method,
            path=incoming.path,
            params=dict(zip(endpoint.names, values, strict=True)) if values else {},
            headers=incoming.headers,
            request_id=incoming.request_id,
            client_address=incoming.client_address,
            caller=caller,
            query=endpoint.query(incoming),
            body=await endpoint.body(incoming),
            idempotency_key=endpoint.idempotency_key(incoming) if route.moves_money else "",
        )
        answer = await _answered(route, request)
        if isinstance(answer, RefusedAnswer):
            if is_denial(answer.refusal):
                self._denials.note(_denial(answer.refusal, incoming))
            reply = refusal_reply(answer.refusal, request_id=incoming.request_id)
            if answer.body is None:
                reply.headers += header_pairs(answer.headers)
            else:
                reply.headers, reply.body = header_pairs(answer.headers), answer.body
        else:
            reply = reply_of(answer, status=route.status)
            if reply.stream is not None and reply.content_type == _EVENTS:
                reply.stream = _while_good(reply.stream, incoming.token(), verifier=self._verifier)
        return reply

    async def _admitted(self, endpoint: Endpoint, incoming: Incoming) -> Caller | None:
        try:
            caller = await self.identify(incoming)
        except Unauthenticated:
            if endpoint.is_public:
                return None
            raise
        if caller is None and not endpoint.is_public:
            raise Unauthenticated
        if not endpoint.is_public and caller is not None and not _may(caller, endpoint):
            raise NotPermitted
        return caller


async def _while_good(
    chunks: AsyncGenerator[bytes, None], token: str | None, *, verifier: TokenVerifier
) -> AsyncGenerator[bytes, None]:
    """What a stream says for as long as the token is good that it was asked for with."""
    async with aclosing(chunks):
        async for chunk in chunks:
            if token is not None:
                try:
                    await verifier.verify(token)
                except Refusal:
                    return
            yield chunk


async def _answered(route: Route, request: Request) -> AnyAnswer:
    """What the handler answers; a read whose connection was lost is done once more."""
    try:
        return await route.handler(request)
    except Overloaded as refusal:
        if route.method != "GET" or not isinstance(refusal.__cause__, LostRead):
            raise
    return await route.handler(request)


def _may(caller: Caller, endpoint: Endpoint) -> bool:
    permissions = endpoint.permissions
    if not permissions:
        return caller.client_id is None
    return not caller.permissions.isdisjoint(permissions)


def _denial(refusal: Refusal, incoming: Incoming) -> Denial:
    """What is kept of a request that was denied: nothing of its path, its query or its body."""
    meter, caller = incoming.meter, incoming.caller
    claim = refusal if isinstance(refusal, Unauthenticated) else None
    person_id = None if claim is None else claim.claimed_id
    if caller is not None:
        person_id = caller.customer_id or caller.user_id
    return Denial(
        code=refusal.code,
        method=incoming.method if meter is None else meter.method,
        route=_ANY if meter is None else meter.template,
        origin=Origin(
            None if caller is None else caller.actor_id, incoming.request_id, incoming.trace_id()
        ),
        person_id=person_id,
        client_address=incoming.client_address,
        claimed=None if claim is None else claim.claimed,
    )


def _method(incoming: Incoming) -> str:
    """The method whose handler answers: HEAD is GET without the body."""
    return "GET" if incoming.method == "HEAD" else incoming.method


def _shape(incoming: Incoming) -> str:
    """What is safe to log about where it happened: the template, never ids or queries."""
    meter = incoming.meter
    return f"{meter.method} {meter.template}" if meter is not None else _ANY
