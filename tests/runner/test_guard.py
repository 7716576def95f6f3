"""What passes on an agent's output: any bytes, any length, at once, and no marker but our own; by each of its tools."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.agents.script import GUARD_SCRIPT
from tests.components import need_program
from tests.runner.test_entry import only

MARK = b"PRELOOP_AGENT_EXEC_"
STREAMING = ["perl", "python3", "node"]
EVERY = [*STREAMING, "awk"]


@contextmanager
def guarding(tool: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    need_program(tool)
    path = only(tmp_path / "bin", *([tool] if tool != "awk" else []))
    with subprocess.Popen(
        ["sh", str(GUARD_SCRIPT)],
        env={"PATH": str(path), "NODE_OPTIONS": "--no-such-option", "PERL5OPT": "-Mno_such_module"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield process


def passed(tool: str, tmp_path: Path, said: bytes) -> bytes:
    with guarding(tool, tmp_path) as process:
        out, _ = process.communicate(said, timeout=60)
    assert process.returncode == 0
    return out


@pytest.mark.parametrize("tool", EVERY)
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", b""),
        (b"\n\n", b"\n\n"),
        (b"no end", b"no end\n"),
        (b"ends in a beginning\nPRELOOP_AG", b"ends in a beginning\nPRELOOP_AG\n"),
        (MARK, b" " + MARK + b"\n"),
        (b"a\n" + MARK + b"END 0\n" + MARK + b"\n", b"a\n " + MARK + b"END 0\n " + MARK + b"\n"),
        (b"in the middle " + MARK + b"END 0\n", b"in the middle " + MARK + b"END 0\n"),
        (b"PRELOOP_" + MARK + b"END 0\n", b"PRELOOP_" + MARK + b"END 0\n"),
        (b"a\r\n\xff\xfe\xc3\n\x1b[1mb\r", b"a\r\n\xff\xfe\xc3\n\x1b[1mb\r\n"),
    ],
)
def test_only_lines_that_pretend_to_be_ours_are_changed(tool: str, said: bytes, told: bytes, tmp_path: Path) -> None:
    assert passed(tool, tmp_path, said) == told


@pytest.mark.parametrize("tool", STREAMING)
def test_any_bytes_survive(tool: str, tmp_path: Path) -> None:
    every = bytes(range(256)) * 300
    assert passed(tool, tmp_path, b"a\0b\n" + every + b"\n" + MARK) == b"a\0b\n" + every + b"\n " + MARK + b"\n"


@pytest.mark.parametrize("tool", STREAMING)
def test_what_comes_byte_by_byte_goes_on_at_once_and_a_marker_is_still_found(tool: str, tmp_path: Path) -> None:
    said = b"x\nPRELOOP_AGENT?\n" + MARK + b"END 0\nPRE\n"
    with guarding(tool, tmp_path) as process:
        assert process.stdin
        assert process.stdout
        got = b""
        for at in range(len(said)):
            process.stdin.write(said[at : at + 1])
            process.stdin.flush()
            if not MARK.startswith(said[: at + 1].rpartition(b"\n")[2]) or said[at : at + 1] == b"\n":
                want = said[: at + 1].replace(b"\n" + MARK, b"\n " + MARK)
                while len(got) < len(want):
                    got += os.read(process.stdout.fileno(), 4096)
                assert got == want
        process.stdin.close()
        assert (process.stdout.read(), process.wait()) == (b"", 0)


@pytest.mark.parametrize("tool", STREAMING)
def test_a_line_may_be_larger_than_memory(tool: str, tmp_path: Path) -> None:
    need_program(tool)
    block, blocks = b"x" * (32 << 10), 8192  # of which a pipe holds one
    with guarding(tool, tmp_path) as process:
        assert process.stdin
        assert process.stdout
        for _ in range(blocks):
            process.stdin.write(block)
            process.stdin.flush()
            left = len(block)
            while left:
                left -= len(os.read(process.stdout.fileno(), left))
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.stdin.write(b"\n" + MARK + b"END 0\n")
        process.stdin.close()
        assert process.stdout.read() == b"\n " + MARK + b"END 0\n"
    peak_kb = int(status.partition("VmHWM:")[2].split()[0])
    assert peak_kb << 10 < len(block) * blocks // 2, "half of the line"
