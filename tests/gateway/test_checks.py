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
            async with httpx.AsyncClient(verify=False, headers={"authorization": f"Bearer {token}"}) as client:
                await client.post(f"{plane.containers}/openai/v1/chat/completions", json={"model": "m", "messages": []})
            (after,) = plane.gateway.checks.standings()
    assert (before.state, before.failed, before.last_error) == ("closed", 0, None)
    assert (after.state, after.failed) == ("open", 1)
    assert "503" in str(after.last_error)


async def test_an_alias_is_served_where_one_upstream_answers_and_is_not_left_alone(tmp_path: Path) -> None:
    async with (
        raw.serve(raw.whole(b'{"data":[]}')) as good,
        raw.serve(raw.refusal(401)) as strict,
        raw.serve(raw.refusal(503)) as broken,
    ):
        dead = {"model": "x", "base_url": "http://127.0.0.1:1/v1"}
        refuses = {"model": "y", "base_url": f"{strict.url}/v1"}
        models: Any = {
            "well": {"upstreams": [dead, refuses, {"model": "z", "base_url": f"{good.url}/v1"}]},
            "ill": {"upstreams": [dead, refuses]},
            "open": {"model": "x", "base_url": f"{broken.url}/v1", "retries": 0, "breaker_failures": 1},
            "script": {"provider": "scripted", "script": "payment"},
        }
        async with open_plane(tmp_path, models) as plane:
            _, token = await plane.session("open")
            async with httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}) as client:
                url = f"{plane.containers}/openai/v1/chat/completions"
                await client.post(url, json={"model": "open", "messages": []})
            asked = len(broken.paths)
            found = {alias: await plane.gateway.checks.serves(alias) for alias in (*models, "nobody")}
    assert found == {"well": True, "ill": False, "open": False, "script": True, "nobody": False}
    assert len(broken.paths) == asked  # one that is left alone is left alone
