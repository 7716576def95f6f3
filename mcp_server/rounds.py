"""Input that a tool asks for while its call is a task: the questions, the answers so far, and the sender that waits.

In memory, as the sending itself is: a process that dies takes the questions along, and its call becomes `unknown`.
"""

from collections.abc import Mapping
from typing import Any

import anyio

from mcp_server.manner import Message


class Questions:
    """One round of one call."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        self.open: Message = dict(result.get("inputRequests") or {})
        self._state = result.get("requestState")
        self._answers: Message = {}
        self._answered = anyio.Event()

    def answer(self, responses: Mapping[str, Any]) -> None:
        """Take what was asked for and is not answered yet; the rest is ignored."""
        for name in [name for name in self.open if name in responses]:
            self._answers[name] = responses[name]
            del self.open[name]
        if not self.open:
            self._answered.set()

    async def answered(self) -> Message:
        """What the next round brings the tool, once all is answered."""
        if self.open:
            await self._answered.wait()
        return {"inputResponses": self._answers} | ({"requestState": self._state} if self._state is not None else {})


class Rounds:
    """Which calls of this process are tasks, and what their tools ask."""

    def __init__(self) -> None:
        self._tasks: set[str] = set()
        self._questions: dict[str, Questions] = {}

    def adopt(self, call_id: str) -> None:
        """From now on this call is a task: its client is asked by polling."""
        self._tasks.add(call_id)

    def ask(self, call_id: str, result: Mapping[str, Any]) -> Questions | None:
        """The questions in a result, where a task's client will see them."""
        if result.get("resultType") != "input_required" or call_id not in self._tasks:
            return None
        self._questions[call_id] = Questions(result)
        return self._questions[call_id]

    def open(self, call_id: str) -> Message:
        """What is still to be answered."""
        found = self._questions.get(call_id)
        return dict(found.open) if found else {}

    def answer(self, call_id: str, responses: Mapping[str, Any]) -> None:
        if found := self._questions.get(call_id):
            found.answer(responses)

    def forget(self, call_id: str) -> None:
        self._tasks.discard(call_id)
        self._questions.pop(call_id, None)
