"""One spelling of JSON: digests are over it, so it never changes."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import canonical
from kit.errors import Invalid

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5), inner),
    max_leaves=20,
)  # fmt: skip


def test_keys_are_sorted_nothing_is_spaced_and_text_is_utf_8() -> None:
    value = {"recipient": "Zoë", "amount": 1500, "a": [1.5, None, True]}
    written = '{"a":[1.5,null,true],"amount":1500,"recipient":"Zoë"}'
    assert canonical.dumps(value) == written
    assert canonical.digest(value) == hashlib.sha256(written.encode("utf-8")).hexdigest()


@given(value=JSON)
def test_what_is_written_reads_back_the_same_and_is_spelled_the_same(value: object) -> None:
    written = canonical.dumps(value)
    assert canonical.parse(written) == value
    assert canonical.dumps(canonical.parse(written)) == written


@given(keys=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), unique=True))
def test_the_order_of_keys_is_nothing(keys: list[str]) -> None:
    forth, back = {key: 1 for key in keys}, {key: 1 for key in reversed(keys)}
    assert canonical.digest(forth) == canonical.digest(back)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a": 1, "a": 1}', "json_duplicate_key"),
        ('{"a": {"b": 1, "b": 2}}', "json_duplicate_key"),
        ("[NaN]", "json_not_a_number"),
        ("[-Infinity]", "json_not_a_number"),
        ("[1e400]", "json_not_a_number"),
        ("[9007199254740993]", "json_integer_too_large"),
        ("[-9007199254740993]", "json_integer_too_large"),
        ("[" + "9" * 5000 + "]", "json_integer_too_large"),
        ('["\\u0000"]', "json_odd_text"),
        ('["\\ud800"]', "json_odd_text"),
        ("[" * 70 + "]" * 70, "json_too_deep"),
        ("[" * 100_000, "json_too_deep"),
        ("{'a': 1}", "json_invalid"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(text: str, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        canonical.parse(text)
    assert refused.value.code == code
