"""What to do about a failure, from its words: a tool's error, a refusal, the end of a log. Pure.

Nothing here decides an outcome. The sentences are the product page's where it has one.
"""

import re
from collections.abc import Sequence

LINE = 200
_INVALID = re.compile(r"invalid ([\w -]{2,60}?)(?: address| format| value| id)?[.!]?", re.IGNORECASE)
_MISSING = re.compile(r"required argument '([^']+)' missing")
_ARGUMENT = re.compile(r"argument '([^']+)': ")
_UNLISTED = re.compile(r"Tool '(.+)' not found in allowed tools")
_MONEY = re.compile(r"budget|amount|too (much|expensive|dear)", re.IGNORECASE)
_TRACE = re.compile(r"([A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt)(?:: .+)?)")
_KNOWN = (
    (
        re.compile(r"^preloop: init took longer than"),
        "Raise limits.init, or put into the image what takes so long.",
    ),
    (re.compile(r"no space left on device|ENOSPC", re.I), "Its disk was full: write less, or clean up in between."),
    (
        re.compile(r"heap out of memory|MemoryError|Cannot allocate memory|ENOMEM", re.I),
        "It ran out of memory: raise resources.memory in the flow.",
    ),
    (
        re.compile(r"could not resolve host|EAI_AGAIN|ENOTFOUND|name or service not known|name resolution", re.I),
        "It asked for a host that it can't reach: a container reaches the control plane and what `egress` lists.",
    ),
    (
        re.compile(r"could not read Username|Authentication failed for|Permission denied \(publickey", re.I),
        "git was asked for credentials that the container does not have.",
    ),
    (
        re.compile(r"(?:exec|spawn|sh)\b.*(?:not found|ENOENT)|command not found|No such file or directory", re.I),
        "A program or file is missing in the image or in the workspace.",
    ),
    (re.compile(r"can't start new thread|EAGAIN|fork: .*unavailable", re.I), "Raise resources.pids in the flow."),
    (
        re.compile(r"permission denied|EACCES|EROFS|read-only file system", re.I),
        "It may write below its workspace only.",
    ),
)


def for_tool(error: str) -> str:
    """For a tool that was called and failed."""
    if found := _INVALID.fullmatch(error.strip()):
        return f"Verify the {found[1].strip()} format in your prompt template"
    if "does not answer" in error:
        return "Start the tool server, or correct its address in [servers]; `preloop tools list` says how it is"
    return "Look at the arguments of the failed call; the prompt may name a value wrongly."


def for_refusal(text: str) -> str:
    """For a call that was refused before anybody was asked: the log's "Fix"."""
    if found := _UNLISTED.fullmatch(text):
        return f'Edit flow → Tools → Check "{found[1]}"'
    if found := _MISSING.search(text):
        return f"Update prompt template to provide '{found[1]}' argument"
    if found := _ARGUMENT.search(text):
        return f"Update prompt template so that '{found[1]}' is what the tool takes"
    if re.search("quarantined|admin|accepted", text):
        return "Look at the tool with `preloop tools diff`, and accept it if it is right"
    if "does not answer" in text:
        return for_tool(text)
    return "Correct the flow or the prompt as the message says"


def for_decline(reason: str) -> str:
    """For a person's no."""
    if re.search("budget", reason, re.IGNORECASE):
        return "Adjust the amount or wait for budget refresh"
    if _MONEY.search(reason):
        return "Adjust the amount, or talk to the approver"
    return "Adjust what the agent asks for, or talk to the approver, and run it again."


def for_log(lines: Sequence[str]) -> str:
    """For an end that only the log can explain: what is known by its words, else the line that looks most like why."""
    said = [line.strip() for line in lines if line.strip()]
    for line in reversed(said):
        for pattern, hint in _KNOWN:
            if pattern.search(line):
                return f"{hint} The log says: {line[:LINE]}"
    for line in reversed(said):
        if _TRACE.fullmatch(line) or re.match(r"\W*(error|fatal|panic)\b", line, re.IGNORECASE):
            return f"The log says: {line[:LINE]}"
    return f"The log ends with: {said[-1][:LINE]}" if said else "It said nothing."
