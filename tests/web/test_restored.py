"""Changed arguments bring their masks back: each is the secret that was shown there, or the change is refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from kit.errors import Invalid
from kit.masking import MASK
from web.arguments import editable, restored

ASKED: dict[str, Any] = {
    "payees": [{"account": "A", "password": "of-A", "n": 1}, {"account": "B", "password": "of-B"}],
    "secrets": ["one", "two"],
    "notes": ["plain", "sk-aaaaaaaaaaaaaaaaaaaaaa", "sk-bbbbbbbbbbbbbbbbbbbbbb"],
    "from": {"account": "A", "token": "tA"},
    "to": {"account": "B", "token": "tB"},
}


def edited() -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(editable(ASKED))
    return shown


def swap(arguments: dict[str, Any]) -> None:
    arguments["from"], arguments["to"] = arguments["to"], arguments["from"]


MOVES: dict[str, Callable[[dict[str, Any]], object]] = {
    "an object of a list is deleted": lambda its: its["payees"].pop(0),
    "objects of a list change places": lambda its: its["payees"].reverse(),
    "a field beside a mask in a list": lambda its: its["payees"][0].update(account="B"),
    "one is put before": lambda its: its["payees"].insert(0, {"account": "C", "password": "of-C"}),
    "a true for a one": lambda its: its["payees"][0].update(n=True),
    "a secret is deleted": lambda its: its["secrets"].pop(0),
    "the first goes and a new one follows": lambda its: its.update(secrets=[MASK, "new"]),
    "a text with a secret is deleted": lambda its: its["notes"].pop(1),
    "a plain text before it is deleted": lambda its: its["notes"].pop(0),
    "a mask where none was": lambda its: its["notes"].__setitem__(0, MASK),
    "objects swap their names": swap,
    "a list that was none": lambda its: its.update(to=[MASK]),
}


@pytest.mark.parametrize("move", MOVES)
def test_a_mask_that_moved_is_refused(move: str) -> None:
    arguments = edited()
    MOVES[move](arguments)
    with pytest.raises(Invalid) as refused:
        restored(arguments, ASKED)
    assert refused.value.code == "mask_changed"


def test_nothing_changed_is_what_was_asked() -> None:
    assert restored(edited(), ASKED) == ASKED


def test_beside_masks_that_stay_everything_may_change() -> None:
    arguments = edited()
    arguments["payees"][0] = {"account": "C", "password": "of-C"}
    arguments["secrets"] = ["typed"]
    arguments["notes"][0] = "other"
    arguments["from"]["account"] = "Z"
    expected = json.loads(json.dumps(ASKED))
    expected["payees"][0] = {"account": "C", "password": "of-C"}
    expected["secrets"], expected["notes"][0] = ["typed"], "other"
    expected["from"]["account"] = "Z"
    assert restored(arguments, ASKED) == expected
