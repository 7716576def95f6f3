"""What CLIs really printed, told in lines: recorded runs of each, from its container's log, and how they look."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.executions.keeping import Stored
from kit.masking import MASK
from kit.redaction import Redactor
from runner import watch
from runner.agents import adapters
from runner.agents.events import Said, lines, parse
from runner.engine import LogLine
from runner.lines import CONTINUED, LIMIT, LineSplitter
from runner.narration import Entry, Narrator

RECORDED = Path(__file__).with_name("recorded")
RUNS = sorted(path.stem for path in RECORDED.glob("*.jsonl"))
NAMED = re.compile(r"^\S+(?: tool)? (answered|failed)\b")
KEY = "sk-provider-0123456789abcdef"
BEFORE, STARTED = watch.Phase(), watch.Phase(started=True)


def output(run: str) -> list[LogLine]:
    texts = (RECORDED / f"{run}.jsonl").read_text().splitlines()
    return [LogLine(text=text, at=f"at {number}", cursor=str(number)) for number, text in enumerate(texts, 1)]


def told(narrator: Narrator, given: list[LogLine]) -> list[Entry]:
    return [entry for line in given for entry in narrator.tell(line)] + list(narrator.rest())


def narrator(run: str, phase: watch.Phase = BEFORE) -> Narrator:
    return Narrator(adapters.read(run.split("-")[0]), phase, Redactor([KEY]))


def stored(entries: list[Entry]) -> list[Stored]:
    return [line for lines, _ in entries for line in lines]


def shown(lines: list[Stored]) -> str:
    return "".join(f"{source} {level} {text}\n" for _, source, level, text in lines)


@pytest.mark.parametrize("run", RUNS)
def test_a_recorded_run_is_told_in_lines(run: str) -> None:
    reading = narrator(run)
    text = shown(stored(told(reading, output(run))))
    if reading.final:
        text += f"final {'well' if reading.final.ok else 'badly'} {reading.final.text}".rstrip() + "\n"
    assert text == (RECORDED / f"{run}.told").read_text()
    assert reading.phase.ended


@pytest.mark.parametrize("run", RUNS)
def test_whoever_adopts_a_run_after_any_entry_tells_neither_less_nor_twice(run: str) -> None:
    given = output(run)
    entries = told(narrator(run), given)
    whole = [NAMED.sub(r"\1", text) for *_, text in stored(entries)]
    for count in range(len(entries) + 1):
        cursor = int(entries[count - 1][1]) if count else 0
        rest = told(narrator(run, STARTED if cursor else BEFORE), given[cursor:])
        both = [NAMED.sub(r"\1", text) for *_, text in stored(entries[:count] + rest)]
        assert both == whole, f"adopted after line {cursor}"


def test_an_event_longer_than_a_line_may_be_is_one_event() -> None:
    raw = b'{"type":"result","is_error":true,"result":"' + b"x" * (3 * LIMIT) + b'"}\n'
    pieces = [LogLine(text=line.text, at="", cursor=str(n)) for n, line in enumerate(LineSplitter().feed(raw))]
    assert len(pieces) == 4
    reading = narrator("claude", STARTED)
    assert "x" * 100 in stored(told(reading, pieces))[-1][3]
    assert reading.final
    assert (reading.final.ok, len(reading.final.text)) == (False, 3 * LIMIT)


def test_a_secret_in_words_of_several_events_is_masked_before_any_of_them_is_told() -> None:
    def line(number: int, words: str) -> LogLine:
        event = {"type": "message", "role": "assistant", "content": words, "delta": True}
        return LogLine(text=json.dumps(event), at="at", cursor=str(number))

    for cut in range(1, len(KEY) - 1):
        words = ["First.\nkey ", KEY[:cut], KEY[cut:-1], KEY[-1] + " end\n", f"{KEY[:cut]}", KEY[cut:]]
        entries = told(narrator("gemini", STARTED), [line(*each) for each in enumerate(words, 1)])
        assert [text for *_, text in stored(entries)] == ["First.", f"key {MASK} end", MASK]
        assert [cursor for _, cursor in entries] == ["4", "6"]


def test_a_secret_that_a_long_event_escapes_is_in_no_text_of_it_nor_in_the_last_word() -> None:
    spelt = KEY.replace("-", "\\u002d")
    start = f'{{"type":"tool_use","id":"1","name":"read {spelt}","input":{{"key":"{spelt}"}}}}'
    end = f'{{"type":"tool_result","tool_use_id":"1","content":"{"x" * 990} {spelt}"}}'
    raw = f'{{"type":"assistant","message":{{"content":[{start}]}},"pad":"{"x" * LIMIT}"}}\n'
    raw += f'{{"type":"user","message":{{"content":[{end}]}}}}\n'
    raw += f'{{"type":"result","is_error":true,"result":"No: {spelt}","pad":"{"x" * LIMIT}"}}\n'
    pieces = [LogLine(text=one.text, at="", cursor=str(n)) for n, one in enumerate(LineSplitter().feed(raw.encode()))]
    reading = narrator("claude", STARTED)
    texts = [text for *_, text in stored(told(reading, pieces))]
    assert texts[0] == f'Calling read {MASK} {{"key": "{MASK}"}}'
    assert texts[1].startswith(f"read {MASK} answered: x")
    assert texts[1].endswith(f"x {MASK}")
    assert texts[2] == f"Ended: No: {MASK}"
    assert reading.final
    assert reading.final.text == f"No: {MASK}"


def test_a_long_line_that_is_no_event_is_shown_in_its_pieces() -> None:
    raw = b"{" + b"x" * (2 * LIMIT) + b"\nafter\n"
    pieces = [LogLine(text=line.text, at="", cursor=str(n)) for n, line in enumerate(LineSplitter().feed(raw))]
    texts = [text for *_, text in stored(told(narrator("codex", STARTED), pieces))]
    assert texts == [piece.text for piece in pieces]
    assert texts[1].startswith(CONTINUED)


@pytest.mark.parametrize("runtime", ["codex", "gemini", "opencode", "claude"])
@pytest.mark.parametrize(
    "text",
    ["plain words", "{broken", "[1, 2]", '{"type": "never heard of"}', "{}", '{"type": ["odd"]}', "null", ""],
)
def test_what_a_cli_s_reader_does_not_know_is_shown_as_it_came(runtime: str, text: str) -> None:
    (entry,) = told(narrator(runtime, STARTED), [LogLine(text=text, at="at", cursor="1")])
    assert entry == ([("at", "agent", "info", text)], "1")


TYPES = ["item.completed", "turn.completed", "turn.failed", "error", "message", "tool_use", "tool_result", "result"]
TYPES += ["text", "reasoning", "step_finish", "system", "assistant", "user"]
PARTS = ["item", "usage", "error", "part", "state", "message", "content", "stats", "text", "tool", "data", "result"]
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*PARTS, "type"]), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(PARTS), ODD, max_size=4))
def test_no_shape_of_an_event_breaks_the_reading(kind: str, parts: dict[str, object]) -> None:
    text = json.dumps({**parts, "type": kind})
    for runtime in ("codex", "gemini", "opencode", "claude"):
        for _, cursor in told(narrator(runtime, STARTED), [LogLine(text=text, at="at", cursor="1")]):
            assert cursor == "1"


def test_what_a_set_up_prints_is_no_event_and_an_agent_that_tells_none_is_not_read() -> None:
    line = LogLine(text='{"type":"turn.failed","error":{"message":"no"}}', at="at", cursor="1")
    for reading in (narrator("codex"), narrator("scripted", STARTED)):
        assert [text for *_, text in stored(told(reading, [line]))] == [line.text]
        assert reading.final is None


def test_an_answer_is_shown_on_one_line_and_cut() -> None:
    ((_, text),) = lines(Said(kind="tool_end", tool="read", text="word\n" * 1000))
    assert text.startswith("read answered: word word")
    assert len(text) < 1100
    assert lines(replace(Said(kind="final"), ok=False, text="No\nway")) == [("error", "Ended: No way")]


def test_an_event_that_is_nested_beyond_reading_is_a_line_of_the_agent() -> None:
    deep = '{"a":' + "[" * 50_000 + "]" * 50_000 + "}"
    assert parse(deep) is None


def test_what_an_engine_has_to_say_of_the_output_is_a_warning_of_ours_and_no_line_of_the_agent() -> None:
    teller = Narrator(None, watch.Phase(started=True), Redactor())
    line = LogLine(text="Output may be lost.", at="t", cursor="7", ours=True)
    assert told(teller, [line]) == [([("t", "preloop", "warning", "Output may be lost.")], "7")]
