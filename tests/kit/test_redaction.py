"""Nothing of a secret is left in text, however it was written and wherever the text was cut."""

import base64
import secrets
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from kit import tokens
from kit.masking import MASK
from kit.redaction import OPAQUE, Redactor

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=12, max_size=60)
AROUND = st.text(st.sampled_from(' "=:,;\n'), max_size=4)
HANG_S = 20


def runtime_token() -> str:
    signer = tokens.Signer(Ed25519PrivateKey.generate())
    return signer.sign(subject="ses_1", audience="a", expires_at=datetime.now(UTC) + timedelta(hours=1))


OURS = [runtime_token(), *(prefix + secrets.token_urlsafe(32) for prefix in OPAQUE)]


@given(key=KEYS, before=AROUND, after=AROUND)
def test_a_known_value_is_found_plain_and_percent_encoded(key: str, before: str, after: str) -> None:
    redactor = Redactor([key])
    for form in (key, quote(key, safe="")):
        assert redactor.text(f"{before}{form}{after}") == f"{before}{MASK}{after}"


@given(key=KEYS, before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_a_known_value_is_found_in_base64_wherever_it_begins(key: str, before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert Redactor([key]).text(f"x {encode(before + key.encode() + after).decode()} y") == f"x {MASK} y"


@pytest.mark.parametrize("token", OURS, ids=["runtime", *OPAQUE])
@pytest.mark.parametrize("lead", range(4))
def test_tokens_of_ours_are_found_by_how_they_begin(token: str, lead: int) -> None:
    coded = base64.b64encode(b"\n" * lead + token.encode() + b"\n").decode()
    told = Redactor().text(f"TOKEN={token}\n{coded}.")
    assert told.startswith(f"TOKEN={MASK}\n")
    assert token not in told
    assert len(told) < len(f"TOKEN={MASK}\n{MASK}.") + 6  # what stood before it may stay
    assert Redactor().text(coded) != coded


@pytest.mark.parametrize("token", OURS, ids=["runtime", *OPAQUE])
def test_tokens_of_ours_are_found_in_digits_and_in_addresses(token: str) -> None:
    every = "".join(f"%{byte:02X}" for byte in token.encode())
    spelt = (every, every.lower(), quote(token).replace(".", "%2E").replace("_", "%5f"), token.encode().hex())
    for form in (*spelt, token.encode().hex().upper()):
        assert Redactor().text(f"a {form} z") == f"a {MASK} z"
        first, second = Redactor(["another-secret"]).pieces(f"a {form[:200]}", f"{form[200:]} z")
        assert first + second == f"a {MASK} z"
    for harmless in ("plb%5Fsmall", b"plb_small".hex()):
        assert Redactor().text(harmless) == harmless


@given(key=KEYS, before=st.text(st.sampled_from("ab "), max_size=900), cut=st.integers(0, 59))
def test_a_value_across_the_edge_of_two_pieces_is_gone_from_both(key: str, before: str, cut: int) -> None:
    at = cut % len(key)
    first, second = Redactor([key]).pieces(before + key[:at], key[at:] + " tail")
    assert first + second == f"{before}{MASK} tail"


@pytest.mark.parametrize(
    "text",
    ["plb_short", "a word like secret", "ple_", "webhook whsec_x", "eyJhbGciOiJIUzI1NiJ9.e30.x", "cGxiX3Nob3J0", ""],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert Redactor(["another value", "short"]).text(text) == text


@pytest.mark.parametrize(
    "spelled",
    [
        "sk9%2FaB%2BcD%2FeF%3DgH!iJ(kL)mN*oP%20q",  # encodeURIComponent
        "sk9/aB%2BcD/eF%3DgH%21iJ%28kL%29mN%2AoP%20q",  # urllib's quote
        "sk9%2faB%2bcD%2feF%3dgH!iJ(kL)mN*oP+q",  # a form's, in small digits
        "%73k9/aB%2BcD/eF=gH!iJ(kL)mN*oP q",
    ],
)
def test_a_value_is_found_however_an_address_spells_it(spelled: str) -> None:
    redactor = Redactor(["sk9/aB+cD/eF=gH!iJ(kL)mN*oP q", "another-secret"])
    assert redactor.text(f"GET /?key={spelled}&n=1 50%25") == f"GET /?key={MASK}&n=1 50%25"


def test_a_form_that_encodes_nothing_but_spaces_hides_no_value() -> None:
    assert Redactor(["my long secret pass"]).text("a=my+long+secret+pass&n=1") == f"a={MASK}&n=1"


def test_a_short_value_is_no_secret() -> None:
    assert Redactor(["yes"]).text("yes, yes") == "yes, yes"


@pytest.mark.parametrize("unit", ["A", "plb_ ", "plb_", "cGxi", "eyJhbGciOiJFZERTQSIs", "eyJhbGciOiJFZERTQSIs."])
def test_long_lines_of_beginnings_cost_no_more_than_their_length(unit: str) -> None:
    began = time.monotonic()
    Redactor(["some key of ours"]).text(unit * (64 * 1024 // len(unit)))
    assert time.monotonic() - began < HANG_S
