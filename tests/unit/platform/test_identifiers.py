"""Identifiers of the driver's own kind are the ones that everybody else would have made."""

from __future__ import annotations

from uuid import UUID, uuid4, uuid5

from hypothesis import given
from hypothesis import strategies as st

from guilder.platform.identifiers import named_id, native, new_id


@given(namespace=st.uuids(), name=st.text())
def test_a_named_id_is_the_version_5_of_its_name(namespace: UUID, name: str):
    assert named_id(namespace, name) == uuid5(namespace, name)
    assert named_id(native(namespace), name) == uuid5(namespace, name)


def test_new_ids_are_of_version_7_and_in_order():
    made = [new_id() for _ in range(1_000)]

    assert {id_.version for id_ in made} == {7}
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_a_native_id_is_equal_and_found_under_the_other():
    other = uuid4()

    assert native(other) == other
    assert hash(native(other)) == hash(other)
