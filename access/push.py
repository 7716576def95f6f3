"""The command list of a push (gitprotocol-pack, "Reference Update Request"), read strictly, and whether a grant lets it
through. Pure.

The list comes before the pack, so what may not be is refused before the host hears of it. What git's own reader and
this one could understand in two ways is refused: a second capability list, certificates, push options.
"""

import re
from dataclasses import dataclass

from control.identity.charter import GitGrant, fits
from kit.errors import Invalid, Refused

MOST = 64 * 1024
"""Bytes of a command list."""
PACK = b"PACK"
_FLUSH = 0
_ID = rb"(?:[0-9a-f]{40}|[0-9a-f]{64})"
_COMMAND = re.compile(rb"(%b) (%b) ([!-~]{1,500})" % (_ID, _ID))
_SHALLOW = re.compile(rb"shallow %b" % _ID)
_CAPABILITY = re.compile(
    rb"report-status|report-status-v2|side-band-64k|quiet|atomic|ofs-delta|delete-refs"
    rb"|(?:object-format|agent|session-id)=[!-~]{1,200}"
)
_BRANCH = re.compile(r"refs/heads/([A-Za-z0-9_][A-Za-z0-9._+@=-]*(?:/[A-Za-z0-9_][A-Za-z0-9._+@=-]*)*)")
_ODD = re.compile(r"\.\.|\.(?:/|$)|\.lock(?:/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """A ref from one object to another, in hexadecimal; only zeros are no object."""

    ref: str
    old: str
    new: str

    @property
    def deletes(self) -> bool:
        return not self.new.strip("0")


def read(raw: bytes) -> tuple[Update, ...] | None:
    """The commands a push begins with, or None while they are not here whole, with the first bytes of what follows.
    Without commands nothing may follow; that is for the caller to see."""
    found: list[Update] = []
    at = 0
    while (line := _line(raw, at)) is not None:
        size, text = line
        at += size
        if size == len(b"0000"):
            return _whole(found, raw[at : at + len(PACK)])
        if not _SHALLOW.fullmatch(text) or found:
            found.append(_update(text, first=not found))
    if len(raw) > MOST:
        raise Invalid("push_invalid", f"The list of what is pushed has more than {MOST} bytes.", "Push fewer branches.")
    return None


def check(grant: GitGrant, updates: tuple[Update, ...]) -> None:
    """Refused for what the flow does not let this repository be changed in."""
    if grant.push is None:
        raise Refused("git_read_only", f"This flow only reads {grant.repo}.", "Give it a `push` branch in the flow.")
    if len({update.ref for update in updates}) < len(updates):
        raise Invalid("push_invalid", "A ref is pushed to twice.")
    for update in updates:
        named = _BRANCH.fullmatch(update.ref)
        if not named or _ODD.search(named[1]) or not fits(grant.push, named[1]):
            said = f"This flow pushes to branches {grant.push} of {grant.repo}, not to {update.ref}."
            raise Refused("git_ref_not_listed", said, "Push to such a branch, or change `push` in the flow.")
        if update.deletes:
            raise Refused("git_deletes", f"{update.ref} would be deleted.", "A flow's agent deletes no branches.")


def _line(raw: bytes, at: int) -> tuple[int, bytes] | None:
    """The next pkt-line: (its whole size, its text without a line feed); None when it is not here whole."""
    head = raw[at : at + 4]
    if len(head) < 4:
        return None
    if not re.fullmatch(rb"[0-9a-fA-F]{4}", head):
        raise _odd()
    size = int(head, 16)
    if size == _FLUSH:
        return 4, b""
    if size <= 4:
        raise _odd()
    if len(raw) < at + size:
        return None
    return size, raw[at + 4 : at + size].removesuffix(b"\n")


def _update(text: bytes, *, first: bool) -> Update:
    command, nul, capabilities = text.partition(b"\0")
    found = _COMMAND.fullmatch(command)
    if not found or bool(nul) != first:
        raise _odd()
    for capability in capabilities.split():
        if not _CAPABILITY.fullmatch(capability):
            named = capability.decode("latin-1")[:60]
            raise Refused("push_not_supported", f"A push with {named!r} is not taken here.", "Leave that option out.")
    old, new, ref = (part.decode() for part in found.groups())
    return Update(ref=ref, old=old, new=new)


def _whole(found: list[Update], follows: bytes) -> tuple[Update, ...] | None:
    """What follows commands is a pack and nothing else."""
    if found and not all(update.deletes for update in found):
        if not PACK.startswith(follows):
            raise _odd()
        return tuple(found) if follows == PACK else None
    return tuple(found)


def _odd() -> Invalid:
    return Invalid("push_invalid", "The list of what is pushed can't be read.", "git itself writes another one.")
