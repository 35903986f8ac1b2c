"""The public keys over HTTP: kept by clients, asked for again cheaply, changed by a rotation."""

from __future__ import annotations

import pytest

from guilder.platform.keys import JWKS_PATH
from tests.support.town import Town


@pytest.mark.parametrize("around", ["{}", "W/{}", '"other", {}', "*"])
async def test_keys_that_a_client_has_are_not_sent_again(around: str, town: Town) -> None:
    tag = (await town.http.get(JWKS_PATH)).headers["etag"]

    answer = await town.http.get(JWKS_PATH, headers={"If-None-Match": around.format(tag)})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == tag
    assert answer.headers["cache-control"] == "public, max-age=60"


async def test_a_rotation_changes_what_is_published(town: Town) -> None:
    tag = (await town.http.get(JWKS_PATH)).headers["etag"]

    added = town.keys.rotate()

    answer = await town.http.get(JWKS_PATH, headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer.headers["etag"] != tag
    assert added.kid in {key["kid"] for key in answer.json()["keys"]}
