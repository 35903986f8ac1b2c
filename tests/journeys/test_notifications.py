"""Anna pays Ben, and Ben hears of it: live, in his feed, by mail, in the language he chose."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx2
import pytest

from tests.journeys.conftest import Guilder, NewCustomer
from tests.support.customer import Customer, data, error
from tests.support.tokens import token_of_everybody

PATIENCE_S = 30


@contextmanager
def stream(
    customer: Customer, last_event_id: int | None = None
) -> Iterator[Iterator[dict[str, object]]]:
    """What comes by a stream of the customer, as it comes."""
    headers = {**customer.authorization}
    if last_event_id is not None:
        headers["Last-Event-ID"] = str(last_event_id)
    with customer.http.stream("GET", "/api/v1/notifications/stream", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        lines = answer.iter_lines()
        assert next(lines).startswith("retry:")
        yield (json.loads(line[6:]) for line in lines if line.startswith("data: "))


def eventually(ask, accept):
    """What ``ask`` answers once ``accept`` holds of it."""
    deadline = time.monotonic() + PATIENCE_S
    while not accept(found := ask()):
        assert time.monotonic() < deadline, found
    return found


def outbox(customer: Customer) -> list[dict[str, object]]:
    return data(customer.get("/notifications/sandbox-outbox"))


@pytest.fixture(scope="module")
def staff(house: Guilder) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_of_everybody(house.folder)}"}


def test_ben_sees_annas_payment_live_in_his_feed_and_by_mail(customer: NewCustomer) -> None:
    anna, ben = customer("Anna"), customer("Ben")
    annas, bens = anna.open_wallet(funds="500.00"), ben.open_wallet()
    eventually(
        lambda: data(ben.get("/notifications")),
        lambda items: len([i for i in items if i["type"] == "account_details"]) == 2,
    )

    with stream(ben) as events:
        payment = data(anna.transfer(annas, bens, "125.50"), 201)
        live = next(events)

    assert (live["type"], live["title"]) == ("payment_received", "₹125.50 received")
    assert live["data"]["transaction_id"] == payment["id"]
    newest, *_ = data(ben.get("/notifications"))
    assert newest == live
    mail = eventually(lambda: [m for m in outbox(ben) if m["subject"] == "₹125.50 received"], bool)[
        0
    ]
    assert (mail["channel"], mail["recipient"]) == ("email", ben.email)
    assert "Hello Ben Rao," in mail["text"]
    assert payment["id"] in mail["html"]
    sent = eventually(lambda: [m for m in outbox(anna) if m["subject"] == "₹125.50 sent"], bool)
    assert len(sent) == 1


def test_who_comes_back_with_the_last_id_gets_what_was_missed(customer: NewCustomer) -> None:
    ben = customer("Ben")
    wallet = ben.open_wallet()
    eventually(
        lambda: data(ben.get("/notifications")),
        lambda items: len([i for i in items if i["type"] == "account_details"]) == 2,
    )
    data(ben.deposit(wallet, "1.00"), 201)
    seen, *_ = eventually(
        lambda: data(ben.get("/notifications")),
        lambda items: items and items[0]["type"] == "deposit_received",
    )
    data(ben.deposit(wallet, "2.00"), 201)
    data(ben.deposit(wallet, "3.00"), 201)

    with stream(ben, last_event_id=seen["sequence"]) as events:
        missed = [next(events)["title"] for _ in range(2)]

    assert missed == ["₹2.00 deposited", "₹3.00 deposited"]


def test_a_new_customer_is_welcomed_and_reads(customer: NewCustomer) -> None:
    anna = customer("Anna")
    items = eventually(
        lambda: data(anna.get("/notifications")),
        lambda items: {i["type"] for i in items} == {"welcome", "account_details"},
    )
    unread = data(anna.get("/notifications/unread-count"))["unread_count"]
    first = data(anna.post(f"/notifications/{items[0]['id']}/read"))
    left = data(anna.get("/notifications/unread-count"))["unread_count"]
    none = data(anna.post("/notifications/read-all"))["unread_count"]

    assert (unread, left, none) == (2, 1, 0)
    assert first["is_read"]
    assert {m["subject"] for m in eventually(lambda: outbox(anna), lambda m: len(m) == 2)} == {
        "Welcome to Guilder",
        "Your new INR wallet",
    }


def test_a_feed_is_read_page_by_page_in_either_spelling(customer: NewCustomer) -> None:
    anna = customer("Anna")
    wallet = anna.open_wallet()
    for amount in ("1.00", "2.00", "3.00"):
        data(anna.deposit(wallet, amount), 201)
    eventually(lambda: data(anna.get("/notifications")), lambda items: len(items) == 6)

    first = anna.get("/notification/notifications/", limit=4).json()
    rest = anna.get("/notifications", limit=4, cursor=first["meta"]["next_cursor"]).json()

    sequences = [item["sequence"] for item in first["data"] + rest["data"]]
    assert sequences == [6, 5, 4, 3, 2, 1]
    assert not rest["meta"]["has_more"]


def test_choices_are_kept_and_security_cannot_be_switched_off(customer: NewCustomer) -> None:
    anna = customer("Anna")
    before = data(anna.get("/notifications/preferences"))
    chosen = {
        "language": "hi",
        "time_zone": "Europe/Berlin",
        "quiet_hours": {"from": "22:00", "until": "07:00"},
        "channels": {"payments": {"email": False}},
    }
    path = "/api/v1/notifications/preferences"

    after = data(anna.http.put(path, json=chosen, headers=anna.authorization))
    for wrong in (
        {"channels": {"security": {"email": False}}},
        {"time_zone": "Mars/Olympus"},
        {"language": "nl"},
        {"quiet_hours": {"from": "25:00", "until": "07:00"}},
    ):
        refused = error(anna.http.put(path, json=wrong, headers=anna.authorization), 400)
        assert refused["code"] == "VALIDATION_ERROR"

    assert before["language"] == "en"
    assert before["channels"]["payments"]["email"]
    assert after == data(anna.get("/notifications/preferences"))
    assert after["quiet_hours"] == chosen["quiet_hours"]
    assert not after["channels"]["payments"]["email"]
    assert after["channels"]["security"]["email"]


def test_a_device_is_registered_and_gets_pushes(customer: NewCustomer) -> None:
    anna = customer("Anna")
    token = f"token-{uuid4()}"

    device = data(anna.post("/notifications/devices", token=token, label="phone"), 201)
    again = data(anna.post("/notifications/devices", token=token, label="phone"), 201)
    data(anna.deposit(anna.open_wallet(), "5.00"), 201)

    pushes = eventually(lambda: [m for m in outbox(anna) if m["channel"] == "push"], bool)
    assert device["id"] == again["id"]
    assert (pushes[0]["recipient"], pushes[0]["subject"]) == (token, "₹5.00 deposited")
    path = f"/api/v1/notifications/devices/{device['id']}"
    assert anna.http.delete(path, headers=anna.authorization).status_code == 204
    assert data(anna.get("/notifications/devices")) == []
    error(anna.http.delete(path, headers=anna.authorization), 404)


def test_a_sign_in_with_another_program_is_a_security_notice(customer: NewCustomer) -> None:
    anna = customer("Anna")
    credentials = {"email": anna.email, "password": "SecurePass123"}

    data(
        anna.http.post(
            "/api/v1/auth/login", json=credentials, headers={"User-Agent": "Firefox on Mars"}
        )
    )

    items = eventually(
        lambda: data(anna.get("/notifications")),
        lambda items: any(i["type"] == "new_device" for i in items),
    )
    assert [i["category"] for i in items if i["type"] == "new_device"] == ["security"]


def test_what_is_annas_is_nobody_elses(
    customer: NewCustomer, house: Guilder, staff: dict[str, str]
) -> None:
    anna, ben = customer("Anna"), customer("Ben")
    items = eventually(lambda: data(anna.get("/notifications")), bool)

    for answer, status in (
        (ben.post(f"/notifications/{items[0]['id']}/read"), 404),
        (ben.get(f"/notifications/user/{anna.id}"), 403),
        (ben.get("/notifications/sandbox-outbox", user_id=str(anna.id)), 403),
        (ben.get("/notifications/templates"), 403),
        (ben.post("/notifications/email", user_id=str(anna.id), subject="x", text="y"), 403),
        (house.http.get("/api/v1/notifications"), 401),
        (house.http.get("/api/v1/notifications/stream"), 401),
    ):
        error(answer, status)
    path = f"/api/v1/notifications/user/{anna.id}"
    seen = data(house.http.get(path, headers=staff))
    assert {item["id"] for item in items} <= {item["id"] for item in seen}


def test_staff_write_to_people_and_see_what_became_of_it(
    customer: NewCustomer, house: Guilder, staff: dict[str, str]
) -> None:
    anna = customer("Anna")
    eventually(lambda: outbox(anna), bool)

    def post(path: str, **body: object) -> httpx2.Response:
        return house.http.post(f"/api/v1/notifications{path}", json=body, headers=staff)

    (mail,) = data(
        post("/email", user_id=str(anna.id), subject="Closed on Monday", text="Back\nTuesday."),
        202,
    )
    (push,) = data(post("/push", user_id=str(anna.id), subject="x", text="y"), 202)
    for wrong in (
        {"subject": "x"},
        {"template": "welcome", "subject": "x"},
        {"template": "welcome"},
        {"values": {"a": "b"}},
        {"subject": "x", "text": "y", "category": "gossip"},
    ):
        error(post("/sms", user_id=str(anna.id), **wrong), 400)
    error(post("/sms", user_id=str(anna.id), template="nothing"), 404)

    def look() -> dict[str, object]:
        path = f"/api/v1/notifications/messages/{mail['id']}"
        found: dict[str, object] = data(house.http.get(path, headers=staff))
        return found

    assert eventually(look, lambda found: found["status"] == "sent")["attempts"] == 1
    assert (push["status"], push["reason"]) == ("suppressed", "switched_off")
    assert any(m["subject"] == "Closed on Monday" for m in outbox(anna))


def test_staff_preview_every_template(house: Guilder, staff: dict[str, str]) -> None:
    listed = data(house.http.get("/api/v1/notifications/templates", headers=staff))

    for template in listed:
        for language in template["languages"]:
            path = f"/api/v1/notifications/templates/{template['name']}/preview"
            shown = data(house.http.get(path, params={"language": language}, headers=staff))
            assert shown["html"].startswith("<!doctype html>")
    assert len(listed) > 8
    path = "/api/v1/notifications/templates/nothing/preview"
    error(house.http.get(path, headers=staff), 404)
