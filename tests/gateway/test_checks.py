"""Each upstream says how it is, and is asked for nothing that costs."""

from pathlib import Path
from typing import Any

import httpx

from tests.fakes import raw_provider as raw
from tests.gateway.plane import PRICES, open_plane


async def test_every_upstream_is_asked_once_and_told_by_what_it_said(tmp_path: Path) -> None:
    async with raw.serve(raw.whole(b'{"data":[]}')) as good, raw.serve(raw.refusal(401, "sk-secret")) as strict:
        models: Any = {
            "a": {"upstreams": [{"model": "x", "base_url": f"{good.url}/v1", "api_key": "sk-1", **PRICES}]},
            "b": {
                "upstreams": [
                    {"model": "y", "base_url": f"{strict.url}/v1"},
                    {"model": "z", "provider": "anthropic", "base_url": "http://127.0.0.1:1", "order": 1},
                ]
            },
            "c": {"provider": "scripted", "script": "payment"},
        }
        async with open_plane(tmp_path, models) as plane:
            found = await plane.gateway.checks.check()
        assert [(one.alias, one.place, one.probe) for one in found] == [
            ("a", 0, "ok"),
            ("b", 0, "failed"),
            ("b", 1, "failed"),
            ("c", 0, "skipped"),
        ]
        assert [one.priced for one in found[:2]] == [True, False]
        assert found[1].probe_error == "It refuses the key."
        assert "can't be reached" in str(found[2].probe_error)
        assert good.paths == ["/v1/models"]
        assert good.headers[0]["authorization"] == "Bearer sk-1"


async def test_what_calls_met_is_remembered(tmp_path: Path) -> None:
    async with raw.serve(raw.refusal(503)) as provider:
        entry = {"model": "x", "base_url": f"{provider.url}/v1", "retries": 0, "breaker_failures": 1}
        async with open_plane(tmp_path, {"m": entry}) as plane:
            (before,) = plane.gateway.checks.standings()
            _, token = await plane.session("m")
            async with httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}) as client:
                await client.post(f"{plane.containers}/openai/v1/chat/completions", json={"model": "m", "messages": []})
            (after,) = plane.gateway.checks.standings()
    assert (before.state, before.failed, before.last_error) == ("closed", 0, None)
    assert (after.state, after.failed) == ("open", 1)
    assert "503" in str(after.last_error)
