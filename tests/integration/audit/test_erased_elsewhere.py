"""Whoever identity has erased is erased in audit, and on the list that no backup undoes."""

from __future__ import annotations

from guilder.audit.api import PersonalState
from guilder.identity.events.staff import UserErased
from guilder.platform.bus import Event
from guilder.platform.identifiers import new_id
from tests.support.archive import Archive, event


async def hear_of(archive: Archive, erasure: Event) -> None:
    (subscription,) = [
        one for one in archive.module.subscriptions if one.types == frozenset({UserErased.TYPE})
    ]
    await archive.db.run(lambda tx: subscription.hear(tx, [erasure]))


async def test_an_erased_user_is_unreadable_in_audit_and_others_are_not(archive: Archive):
    anna, ben = new_id(), new_id()
    of_anna = event(user_id=str(anna), personal={"email": "anna@example.com"})
    of_ben = event(user_id=str(ben), personal={"email": "ben@example.com"})
    await archive.hear(of_anna, of_ben)
    erasure = event(UserErased.TYPE, user_id=str(anna), by=None, reason="by letter")

    await hear_of(archive, erasure)
    await hear_of(archive, erasure)
    await archive.hear(erasure)

    assert (await archive.find_of(of_anna)).personal_state is PersonalState.ERASED
    assert (await archive.find_of(of_ben)).personal == {"email": "ben@example.com"}
    assert (await archive.find_of(erasure)).details["reason"] == "by letter"
    assert await archive.findings() == []
    assert await archive.erasing.erase_person(anna, reason="again") is False
