"""From a plan and a brief to a job."""

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import Invalid
from runner.agents.script import AgentPlan, Brief, Limits, assemble, escape

BRIEF = Brief(
    execution_id="exe_1",
    model="default",
    prompt='Pay "$(id)"\n',
    payload_json=json.dumps({"amount": 5}),
    mcp_url="http://preloop:8081/mcp/v1",
    gateway_url="http://preloop:8081",
    control_url="http://preloop:8081",
)


def test_text_of_the_flow_is_in_files_of_its_own_only() -> None:
    plan = AgentPlan(image="i", argv=("agent", BRIEF.prompt))
    job = assemble(plan, BRIEF, name="n", instance="here", bootstrap_token="once")
    assert job.argv == ("sh", ".preloop/entry.sh")
    assert {path for path, content in job.files.items() if b"$(id)" in content} == {
        ".preloop/prompt.txt",
        ".preloop/argv",
    }
    assert "$(id)" not in str(dict(job.env))
    assert ".preloop/init.sh" not in job.files


def test_the_bootstrap_token_is_the_only_secret_and_only_in_the_environment() -> None:
    job = assemble(AgentPlan(image="i", argv=("a",)), BRIEF, name="n", instance="here", bootstrap_token="once")
    assert job.env["PRELOOP_BOOTSTRAP_TOKEN"] == "once"
    assert not any(content == b"once" for content in job.files.values())
    assert "PRELOOP_API_TOKEN" not in job.env


def test_the_labels_say_whose_it_is_and_the_limits_are_the_jobs() -> None:
    limits = Limits(memory_bytes=1 << 30, cpus=0.5, pids=64)
    job = assemble(
        AgentPlan(image="i", argv=("a",)), BRIEF, name="n", instance="here", bootstrap_token="x", limits=limits
    )
    assert job.labels == {"preloop.instance": "here", "preloop.execution": "exe_1"}
    assert (job.memory_bytes, job.cpus, job.pids) == (1 << 30, 0.5, 64)


def test_a_prompt_that_is_no_unicode_still_becomes_a_file() -> None:
    brief = Brief(**{name: getattr(BRIEF, name) for name in Brief.__slots__} | {"prompt": "a\ud800b"})
    assert (
        assemble(AgentPlan(image="i", argv=("a",)), brief, name="n", instance="h", bootstrap_token="x").files[
            ".preloop/prompt.txt"
        ]
        == b"a?b"
    )


def test_no_argument_holds_a_nul() -> None:
    with pytest.raises(Invalid):
        escape("a\0b")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30))
def test_printf_reads_an_escaped_argument_back(argument: str) -> None:
    line = escape(argument)
    assert "\n" not in line
    told = subprocess.run(["sh", "-c", "printf '%b_' \"$1\"", "sh", line], capture_output=True, check=True)
    assert told.stdout.decode() == argument + "_"
