"""What the gateway does with one request: admit it, find its owner, pass it there, answer."""

from __future__ import annotations

import structlog

from guilder.gateway.admission import Hosts, Origins, RateLimit
from guilder.gateway.proxy import Upstreams
from guilder.kernel.errors import Refusal
from guilder.platform.http.dispatcher import Dispatcher
from guilder.platform.http.endpoint import Endpoint
from guilder.platform.http.incoming import Incoming
from guilder.platform.http.paths import Found
from guilder.platform.http.refusals import ClientGone, RateLimitExceeded
from guilder.platform.http.reply import Reply
from guilder.platform.http.status import bug_reply, refusal_reply

_log = structlog.get_logger("guilder.gateway")

OWN = "gateway"
"""The owner of the gateway's own routes: health, metrics, documentation. They are not counted."""

_PROBES = ("/health/", "/metrics")


class Gateway:
    """The one public entrance to all contexts, here or elsewhere."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        upstreams: Upstreams,
        hosts: Hosts,
        origins: Origins,
        rate_limit: RateLimit | None,
    ) -> None:
        self._dispatcher = dispatcher
        self._upstreams = upstreams
        self._hosts = hosts
        self._origins = origins
        self._rate_limit = rate_limit

    async def respond(self, incoming: Incoming) -> Reply:
        """The answer to a request, whatever happens inside.

        Raises:
            ClientGone: there is nobody left to answer.
        """
        try:
            reply = await self._respond(incoming)
        except Refusal as refusal:
            reply = refusal_reply(refusal, request_id=incoming.request_id)
            reply.headers += incoming.key_header()
        except ClientGone:
            raise
        except Exception:  # noqa: BLE001 - the last one who can answer; the trace goes to the log
            _log.exception("gateway.bug", request_id=incoming.request_id)
            reply = bug_reply(request_id=incoming.request_id)
            reply.headers += incoming.key_header()
        reply.headers += self._origins.headers(incoming)
        return reply

    async def _respond(self, incoming: Incoming) -> Reply:
        found = self._dispatcher.find(incoming)
        # Probes come from inside, addressed by number; they show nothing worth a rebinding attack.
        if not incoming.path.startswith(_PROBES):
            self._hosts.check(incoming.host)
        preflight = self._origins.preflight(incoming)
        if preflight is not None:
            return preflight
        if self._rate_limit is None or _is_own(found):
            return await self._pass_on(incoming, found)
        return await self._counted(self._rate_limit, incoming, found)

    async def _counted(
        self, rate_limit: RateLimit, incoming: Incoming, found: Found[Endpoint] | None
    ) -> Reply:
        verdict = await rate_limit.admit(incoming)
        if verdict.allowed:
            reply = await self._pass_on(incoming, found)
        else:
            refusal = RateLimitExceeded(retry_after_s=verdict.reset_s)
            reply = refusal_reply(refusal, request_id=incoming.request_id)
        reply.headers += rate_limit.headers(verdict)
        return reply

    async def _pass_on(self, incoming: Incoming, found: Found[Endpoint] | None) -> Reply:
        if found is None or not self._is_elsewhere(found):
            return await self._dispatcher.answer(incoming, found)
        endpoint = self._dispatcher.endpoint_of(incoming, found)
        return await self._upstreams.forward(
            incoming,
            to=endpoint.owner,
            path=endpoint.path_of(found.values),
            limit=endpoint.route.max_body_bytes,
        )

    def _is_elsewhere(self, found: Found[Endpoint]) -> bool:
        if not self._upstreams:
            return False
        return any(endpoint.owner in self._upstreams for endpoint in found.methods.values())


def _is_own(found: Found[Endpoint] | None) -> bool:
    return found is not None and all(endpoint.owner == OWN for endpoint in found.methods.values())
