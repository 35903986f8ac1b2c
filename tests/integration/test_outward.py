"""Calls to receivers that misbehave: each ends in time, with what came back or one word for why."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from guilder.platform.addresses import Address
from guilder.platform.egress import Egress, EgressRules
from guilder.platform.outward import CallFailed, CallLimits, OutwardHttp
from tests.support import receivers
from tests.support.receivers import Receiver, answering, raw, receiving

LIMITS = CallLimits(connect_s=2, total_s=1, body_bytes=64 * 1024)
PATIENT = CallLimits(connect_s=20, total_s=30, body_bytes=64 * 1024)


class Here:
    """Every name leads to this machine."""

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        return [ip_address("127.0.0.1")]


class Both:
    """Every name has two addresses of this machine."""

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        return [ip_address("127.0.0.1"), ip_address("127.0.0.2")]


def outward(
    *, limits: CallLimits = PATIENT, tls: ssl.SSLContext | None = None, allow: str = "127.0.0.1:*"
) -> OutwardHttp:
    rules = EgressRules(https_only=False, allow=[allow] if allow else [])
    return OutwardHttp(Egress(rules, resolver=Here()), limits=limits, tls=tls)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


async def failure(receiver: Receiver, *, limits: CallLimits = PATIENT) -> str:
    with pytest.raises(CallFailed) as failed:
        await outward(limits=limits).post(receiver.url, headers={}, body=b"{}")
    return failed.value.reason


async def test_a_call_says_what_it_was_told_and_hears_what_was_answered(receiver: Receiver):
    receiver.answer = answering(202, body=b"thanks", x_seen="yes")

    reply = await outward().post(receiver.url, headers={"webhook-id": "1"}, body=b'{"a":1}')

    (request,) = receiver.requests
    assert (request.path, request.body, request.id) == ("/hook", b'{"a":1}', "1")
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["accept-encoding"] == "identity"
    assert (reply.status, reply.body, reply.is_cut) == (202, b"thanks", False)
    assert ("x-seen", "yes") in reply.headers


async def test_a_name_is_asked_for_by_its_name_at_the_address_it_was_judged_by(receiver: Receiver):
    await outward().post(f"http://hooks.example:{receiver.port}/in", headers={}, body=b"{}")

    assert receiver.requests[0].headers["host"] == f"hooks.example:{receiver.port}"


async def test_a_redirect_is_an_answer_and_is_not_followed(receiver: Receiver):
    async with receiving() as elsewhere:
        receiver.answer = answering(302, location=elsewhere.url)

        reply = await outward().post(receiver.url, headers={}, body=b"{}")

        assert reply.status == 302
        assert elsewhere.requests == []


async def test_an_address_that_is_not_public_is_not_connected_to(receiver: Receiver):
    caller = outward(allow="")

    with pytest.raises(CallFailed, match="address_refused"):
        await caller.post(f"http://hooks.example:{receiver.port}/", headers={}, body=b"{}")
    with pytest.raises(CallFailed, match="address_refused"):
        await caller.post("http://hooks.example/", headers={}, body=b"{}")

    assert receiver.requests == []


@pytest.mark.parametrize(
    "answer", [receivers.hanging, receivers.dripping_head, receivers.promising]
)
async def test_a_head_that_does_not_come_ends_the_call(receiver: Receiver, answer):
    receiver.answer = answer

    assert await failure(receiver, limits=LIMITS) in {"timeout", "head_too_large"}


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "connection"),
        (b"\x00\x01\x02 this is no HTTP at all\r\n\r\n", "not_http"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not_http"),
        (b"HTTP/1.1 200 OK\r\nx-long: " + b"a" * 200_000, "head_too_large"),
    ],
    ids=["nothing", "half a head", "garbage", "another protocol", "a huge head"],
)
async def test_what_is_no_answer_is_named(receiver: Receiver, sent: bytes, reason: str):
    receiver.answer = raw(sent)

    assert await failure(receiver) == reason


async def test_a_closed_port_is_named(receiver: Receiver):
    with pytest.raises(CallFailed, match="connection"):
        await outward().post("http://127.0.0.1:1/", headers={}, body=b"{}")


async def test_a_body_is_cut_at_its_limit(receiver: Receiver):
    receiver.answer = receivers.flooding

    reply = await outward().post(receiver.url, headers={}, body=b"{}")

    assert (reply.status, len(reply.body), reply.is_cut) == (200, 64 * 1024, True)


async def test_a_body_is_kept_as_it_came_and_never_decompressed(receiver: Receiver):
    receiver.answer = receivers.gzip_bomb()

    reply = await outward().post(receiver.url, headers={}, body=b"{}")

    assert reply.body[:2] == b"\x1f\x8b"
    assert len(reply.body) <= 64 * 1024


@pytest.mark.parametrize("answer", [receivers.dripping_body, receivers.trailing])
async def test_a_receiver_that_sent_its_head_has_answered(receiver: Receiver, answer):
    receiver.answer = answer

    reply = await outward(limits=LIMITS).post(receiver.url, headers={}, body=b"{}")

    assert reply.status == 200
    assert reply.is_cut
    assert len(reply.headers) == 1


async def test_a_connection_that_breaks_in_the_body_has_answered(receiver: Receiver):
    receiver.answer = raw(b"HTTP/1.1 500 No\r\ncontent-length: 100\r\n\r\nsorry")

    reply = await outward().post(receiver.url, headers={}, body=b"{}")

    assert (reply.status, reply.body, reply.is_cut) == (500, b"sorry", True)


async def test_a_body_that_ends_with_the_connection_is_whole(receiver: Receiver):
    receiver.answer = raw(b"HTTP/1.0 200 OK\r\n\r\nold style")

    reply = await outward().post(receiver.url, headers={}, body=b"{}")

    assert (reply.body, reply.is_cut) == (b"old style", False)


async def test_interim_answers_are_passed_over(receiver: Receiver):
    receiver.answer = raw(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n"
        b"HTTP/1.1 201 Made\r\ncontent-length: 2\r\n\r\nok"
    )

    reply = await outward().post(receiver.url, headers={}, body=b"{}")

    assert (reply.status, reply.body) == (201, b"ok")
    assert [name for name, _ in reply.headers] == ["content-length"]


async def test_of_two_answers_in_one_piece_the_first_counts(receiver: Receiver):
    receiver.answer = raw(
        b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno"
        b"HTTP/1.1 200 OK\r\nx-more: a\r\ncontent-length: 3\r\n\r\nyes"
    )

    reply = await outward().post(receiver.url, headers={}, body=b"{}")

    assert (reply.status, reply.body, reply.is_cut) == (500, b"no", False)
    assert [name for name, _ in reply.headers] == ["content-length"]


async def test_an_address_that_hangs_leaves_time_for_the_next(receiver: Receiver, tmp_path: Path):
    ours, theirs = _tls(tmp_path, name="hooks.example")
    receiver.answer = receivers.hanging
    rules = EgressRules(https_only=False, allow=["127.0.0.1:*", "127.0.0.2:*"])
    limits = CallLimits(connect_s=6, total_s=30)
    caller = OutwardHttp(Egress(rules, resolver=Both()), limits=limits, tls=ours)
    async with receiving(tls=theirs, host="127.0.0.2", port=receiver.port) as secure:
        reply = await caller.post(f"https://hooks.example:{secure.port}/", headers={}, body=b"{}")

        assert (reply.status, len(secure.requests)) == (200, 1)


async def test_a_certificate_is_checked_for_the_name_in_the_url(tmp_path: Path):
    ours, theirs = _tls(tmp_path, name="hooks.example")
    async with receiving(tls=theirs) as secure:
        caller = outward(tls=ours)

        reply = await caller.post(f"https://hooks.example:{secure.port}/", headers={}, body=b"{}")
        with pytest.raises(CallFailed, match="tls"):
            await caller.post(f"https://other.example:{secure.port}/", headers={}, body=b"{}")

        assert reply.status == 200
        assert len(secure.requests) == 1


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path):
    _, theirs = _tls(tmp_path, name="hooks.example")
    async with receiving(tls=theirs) as secure:
        with pytest.raises(CallFailed, match="tls"):
            await outward().post(f"https://hooks.example:{secure.port}/", headers={}, body=b"{}")

        assert secure.requests == []


async def test_a_server_that_never_shakes_hands_is_left(receiver: Receiver):
    receiver.answer = receivers.hanging

    with pytest.raises(CallFailed, match="timeout"):
        await outward(limits=LIMITS).post(
            receiver.url.replace("http:", "https:"), headers={}, body=b"{}"
        )
    assert receiver.requests == []


def _tls(folder: Path, *, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client that trusts a certificate for ``name``, and a server that has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    both = folder / "receiver.pem"
    both.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(both)
    return ssl.create_default_context(cafile=both), server
