"""What our gateway's process costs until its first answer, and whether LiteLLM was in it by then.

The start that counts finds Python's bytecode, as every start after the first does and every start of the image; what
the start that compiles it costs is said beside it.
"""

import os
from dataclasses import replace
from pathlib import Path

from bench import load, model_gateways, processes
from bench.figures import Within, say
from bench.load import Server
from bench.model_answers import PROOFS, QUESTIONS
from bench.model_gateways import CHAT

LOADED = ("tiktoken", "tokenizers", "litellm")
"""Its dependencies' native libraries are mapped into a process that imported it."""


def start(folder: Path, to: Server, at_most: Within) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    with model_gateways.preloop(folder, to, "compiling", env) as server:
        load.once(replace(server, url=server.url + CHAT), QUESTIONS["small"], PROOFS["small"])
        say("cpu_s_to_first_answer_compiling", f"{processes.cpu_s(server.pid):.3g}")
    with model_gateways.preloop(folder, to, "first", env) as server:
        ours = replace(server, url=server.url + CHAT)
        load.once(ours, QUESTIONS["small"], PROOFS["small"])
        at_most("cpu_s_to_first_answer", processes.cpu_s(ours.pid), 1.5)
        at_most("memory_mb_at_first_answer", processes.rss_mb(ours.pid), 120)
        at_most("litellm_loaded_at_first_answer", _has_litellm(ours.pid), 0)
        load.once(ours, QUESTIONS["translated"], PROOFS["translated"])
        say("memory_mb_with_litellm", f"{processes.rss_mb(ours.pid):.0f}")
        if not _has_litellm(ours.pid):
            raise RuntimeError("a loaded LiteLLM is not seen: the figure above says nothing")


def _has_litellm(pid: int) -> int:
    maps = Path(f"/proc/{pid}/maps").read_text()
    return int(any(f"/{name}" in maps for name in LOADED))
