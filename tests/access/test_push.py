"""The list a push begins with: what git writes is understood, what could be understood twice is not."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access import push
from access.push import Update
from control.identity.charter import GitGrant
from kit.errors import Fault, Invalid, Refused

A, B, NONE = "a" * 40, "b" * 40, "0" * 40
CAPABILITIES = " report-status-v2 side-band-64k object-format=sha1 agent=git/2.39.5"
GRANT = GitGrant(host="code.example", repo="owner/app", push="preloop/*")


def pkt(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return b"%04x%b" % (len(raw) + 4, raw)


def command(ref: str = "refs/heads/preloop/a", old: str = A, new: str = B, capabilities: str | None = None) -> bytes:
    return pkt(f"{old} {new} {ref}" + (f"\0{capabilities}" if capabilities is not None else ""))


FIRST = command(capabilities=CAPABILITIES)


def test_what_git_writes_is_understood() -> None:
    second = command("refs/heads/preloop/b", NONE, A)
    assert push.read(FIRST + second + b"0000PACK\0\0\0\2") == (
        Update(ref="refs/heads/preloop/a", old=A, new=B),
        Update(ref="refs/heads/preloop/b", old=NONE, new=A),
    )
    shallow = pkt(f"shallow {A}")
    sha256 = pkt(f"{'c' * 64} {'d' * 64} refs/heads/x\0 object-format=sha256\n")
    assert push.read(shallow + sha256 + b"0000PACK") == (Update(ref="refs/heads/x", old="c" * 64, new="d" * 64),)
    assert push.read(b"0000") == ()


@given(st.integers(min_value=0, max_value=len(FIRST) + 7))
def test_a_list_that_is_cut_is_waited_for(at: int) -> None:
    whole = FIRST + b"0000PACK"
    assert push.read(whole[:at]) is None


@given(st.binary(max_size=300))
def test_anything_is_read_refused_or_waited_for(raw: bytes) -> None:
    with suppress(Invalid, Refused):
        assert push.read(raw) in (None, ()) or b"PACK" in raw


@pytest.mark.parametrize(
    "raw",
    [
        command() + b"0000PACK",  # no capabilities: git always has some
        FIRST + command("refs/heads/main", capabilities="") + b"0000PACK",  # a second list of them
        FIRST + pkt(f"{A} {B} refs/heads/main\0") + b"0000PACK",
        pkt(f"{A} {B} refs/heads/a b\0{CAPABILITIES}") + b"0000PACK",
        pkt(f"{A}  {B} refs/heads/a\0{CAPABILITIES}") + b"0000PACK",
        pkt(f"{A} {B}\0{CAPABILITIES}") + b"0000PACK",
        pkt(f"{A[1:]} {B} refs/heads/a\0{CAPABILITIES}") + b"0000PACK",
        pkt(f"{A.upper()} {B} refs/heads/a\0{CAPABILITIES}") + b"0000PACK",
        pkt(f"{A} {B} refs/heads/a\n\0{CAPABILITIES}") + b"0000PACK",
        pkt(f"{A} {B} refs/heads/a\0 quiet\0atomic") + b"0000PACK",
        pkt("refs/heads/é".join([f"{A} {B} ", f"\0{CAPABILITIES}"])) + b"0000PACK",
        FIRST + pkt(f"shallow {A}") + b"0000PACK",
        pkt(f"push-cert\0{CAPABILITIES}") + b"0000PACK",
        pkt("") + FIRST + b"0000PACK",
        b"0001" + FIRST + b"0000PACK",
        b"0003" + FIRST + b"0000PACK",
        b"+044" + FIRST[4:] + b"0000PACK",
        b" 044" + FIRST[4:] + b"0000PACK",
        b"0x44" + FIRST[4:] + b"0000PACK",
        FIRST + b"0000" + pkt("ci.skip") + b"0000PACK",  # options that were not announced
        FIRST + b"0000" + command("refs/heads/main") + b"0000PACK",  # a second list
        FIRST + b"00000000PACK",
        FIRST + b"0000pack",
        (FIRST + command("refs/heads/preloop/b") * 2000),
    ],
)
def test_what_has_two_meanings_is_refused(raw: bytes) -> None:
    with pytest.raises(Fault) as refused:
        push.read(raw)
    assert refused.value.code in ("push_invalid", "push_not_supported")


@pytest.mark.parametrize("capability", ["push-options", "push-cert=nonce", "filter", "side-band", "agent=", "x" * 300])
def test_a_capability_that_is_not_known_to_be_harmless_is_refused(capability: str) -> None:
    with pytest.raises(Fault) as refused:
        push.read(command(capabilities=f"{CAPABILITIES} {capability}") + b"0000PACK")
    assert refused.value.code == "push_not_supported"


@pytest.mark.parametrize(
    "ref",
    [
        *(
            "refs/heads/main",
            "refs/heads/preloop",
            "refs/heads/preloopx/a",
            "refs/heads/Preloop/a",
            "refs/tags/preloop/a",
        ),
        *("refs/heads/preloop/../main", "refs/heads/preloop/a..b", "refs/heads/preloop//a", "refs/heads/preloop/.a"),
        *("refs/heads/preloop/a.lock", "refs/heads/preloop/a.lock/b", "refs/heads/preloop/a.", "refs/heads/preloop/"),
        *("refs/heads/preloop/a~1", "refs/heads/preloop/a^", "refs/heads/preloop/a:b", "refs/heads/preloop/a?"),
        *("refs/heads/preloop/*", "refs/heads/preloop/[a", "refs/heads/preloop/a\\b", "HEAD", "preloop/a"),
        *("refs/heads/-preloop/a", "refs/notes/preloop/a", "refs/preloop/a", "refs/heads/refs/heads/preloop/a"),
    ],
)
def test_a_ref_that_is_not_listed_is_refused(ref: str) -> None:
    with pytest.raises(Fault) as refused:
        push.check(GRANT, (Update(ref="refs/heads/preloop/a", old=A, new=B), Update(ref=ref, old=A, new=B)))
    assert refused.value.code == "git_ref_not_listed"


@pytest.mark.parametrize("ref", ["refs/heads/preloop/a", "refs/heads/preloop/a/b.c", "refs/heads/preloop/fix@2+x=1"])
def test_a_listed_ref_passes(ref: str) -> None:
    update = (Update(ref=ref, old=NONE, new=A),)
    push.check(GRANT, update)
    with pytest.raises(Fault, match="only reads"):
        push.check(replace(GRANT, push=None), update)


def test_a_branch_that_is_named_whole_is_that_branch_alone() -> None:
    grant = GitGrant(host="code.example", repo="owner/app", push="release")
    push.check(grant, (Update(ref="refs/heads/release", old=A, new=B),))
    with pytest.raises(Fault):
        push.check(grant, (Update(ref="refs/heads/release-2", old=A, new=B),))


@pytest.mark.parametrize(
    ("grant", "updates", "code"),
    [
        (GRANT, (Update(ref="refs/heads/preloop/a", old=A, new=NONE),), "git_deletes"),
        (GRANT, (Update(ref="refs/heads/preloop/a", old=A, new="0" * 64),), "git_deletes"),
        (GRANT, (Update(ref="refs/heads/preloop/a", old=A, new=B),) * 2, "push_invalid"),
        (GitGrant(host="h", repo="o/r"), (Update(ref="refs/heads/preloop/a", old=A, new=B),), "git_read_only"),
        (GitGrant(host="h", repo="o/r"), (), "git_read_only"),
    ],
)
def test_deletions_repetitions_and_pushes_to_what_is_only_read_are_refused(
    grant: GitGrant, updates: tuple[Update, ...], code: str
) -> None:
    with pytest.raises(Fault) as refused:
        push.check(grant, updates)
    assert refused.value.code == code
