"""The model gateways that are compared, each as processes of its own in front of one small upstream: ours, LiteLLM's
proxy, Portkey, and nginx as the line that nobody crosses.

Peers live under `BENCH_PEERS` (default /tmp/preloop-peers), nginx and wrk are Debian's; nothing here installs anything.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import gateway_house, model_answers, processes
from bench.gateway_house import PRICES
from bench.load import Server
from bench.processes import PEERS
from tests.ports import free_port

LITELLM, PORTKEY = PEERS / "litellm", PEERS / "portkey"
PORTKEY_STARTS = PORTKEY / "node_modules/@portkey-ai/gateway/build/start-server.js"
KEY = "sk-bench-key-0123456789"
CHAT = "/v1/chat/completions"
WORTH_NANO = 10**15
"""A million dollars: budgets are asked, and never say no."""

NGINX = """
worker_processes 1; daemon off; pid {at}/{name}.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 8m; client_body_buffer_size 256k;
  client_body_temp_path {at}/{name}.body; proxy_temp_path {at}/{name}.proxy; fastcgi_temp_path {at}/{name}.fcgi;
  uwsgi_temp_path {at}/{name}.uwsgi; scgi_temp_path {at}/{name}.scgi;
  {inner}
}}
"""
ANSWERS = """
  server {{
    listen 127.0.0.1:{port}; root {at}/answers; error_page 405 =200 $uri;
    location / {{ default_type application/json; }}
    location /streamed/ {{ default_type text/event-stream; }}
  }}
"""
PROXY = """
  upstream answers {{ server {upstream}; keepalive 256; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://answers; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
"""
LITELLM_ENV = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MASTER_KEY": KEY,
    "LITELLM_TELEMETRY": "False",
}
"""What its documentation recommends for production."""


def missing() -> dict[str, str]:
    """What is not there → the command that installs it."""
    install = {
        "nginx": "apt-get install nginx-light" if not shutil.which("nginx") else "",
        "wrk": "apt-get install wrk" if not shutil.which("wrk") else "",
        "litellm": f"python -m venv {LITELLM} && {LITELLM}/bin/pip install 'litellm[proxy]==1.106.2' httptools uvloop"
        if not (LITELLM / "bin/litellm").exists()
        else "",
        "portkey": f"npm install --prefix {PORTKEY} @portkey-ai/gateway@1.15.2" if not PORTKEY_STARTS.exists() else "",
    }
    return {name: command for name, command in install.items() if command}


@contextmanager
def _nginx(folder: Path, name: str, inner: str) -> Iterator[int]:
    folder.chmod(0o755)  # its worker is somebody else when we are root
    config = folder / f"{name}.conf"
    config.write_text(NGINX.format(at=folder, name=name, inner=inner))
    with processes.running(["nginx", "-c", str(config), "-p", str(folder)]) as running:
        yield running.pid


@contextmanager
def upstream(folder: Path) -> Iterator[Server]:
    """Static answers of both dialects, whole and as a stream that comes at once."""
    for path, answer in model_answers.ALL.items():
        at = folder / "answers" / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(answer)
    port = free_port()
    with _nginx(folder, "answers", ANSWERS.format(port=port, at=folder)) as pid:
        processes.wait_for(f"http://127.0.0.1:{port}{CHAT}")
        yield Server(name="direct", url=f"http://127.0.0.1:{port}", pid=pid)


@contextmanager
def nginx(folder: Path, to: Server) -> Iterator[Server]:
    port = free_port()
    with _nginx(folder, "proxy", PROXY.format(port=port, upstream=to.url.removeprefix("http://"))) as pid:
        processes.wait_for(f"http://127.0.0.1:{port}{CHAT}")
        yield Server(name="nginx", url=f"http://127.0.0.1:{port}", pid=pid)


def settings(to: str, **more: object) -> dict[str, Any]:
    """Ours: three aliases with prices, budgets, pace and concurrency."""
    openai = {"provider": "openai", "model": "gpt-bench", "api_key": KEY, **PRICES}
    limits = {"requests_per_minute": 100_000_000, "concurrency": 10_000}
    models = {
        "whole": {**openai, "base_url": f"{to}/v1", **limits},
        "streamed": {**openai, "base_url": f"{to}/streamed", **limits},
        "translated": {
            **{"provider": "anthropic", "model": "claude-bench", "api_key": KEY, "base_url": to},
            **PRICES,
            **limits,
        },
    }
    budgets = [
        {"scope": "account", "period": "day", "limit_usd": "1000000"},
        {"scope": "flow", "period": "month", "limit_usd": "1000000"},
    ]
    return {"models": models, "budgets": budgets, **more}


@contextmanager
def preloop(
    folder: Path, to: Server, name: str = "preloop", env: dict[str, str] | None = None, **more: object
) -> Iterator[Server]:
    """Ours with a token, three budgets, the ledger and metrics on."""
    token = gateway_house.prepare(folder / name, settings(to.url, **more), budget_nano=WORTH_NANO)
    with gateway_house.serving(folder / name, env) as serving:
        yield Server(
            name=name, url=f"{serving.origin}/openai", pid=serving.pid, headers=(f"authorization: Bearer {token}",)
        )


@contextmanager
def litellm(folder: Path, to: Server) -> Iterator[Server]:
    """One worker with a master key and no database, which is less than ours does."""
    port, openai = free_port(), {"model": "openai/gpt-bench", "api_key": KEY}
    models = {
        "whole": {**openai, "api_base": f"{to.url}/v1"},
        "streamed": {**openai, "api_base": f"{to.url}/streamed"},
        "translated": {"model": "anthropic/claude-bench", "api_key": KEY, "api_base": to.url},
    }
    listed = [{"model_name": name, "litellm_params": params} for name, params in models.items()]
    config = folder / "litellm.json"  # JSON is YAML too
    config.write_text(json.dumps({"model_list": listed, "general_settings": {"master_key": KEY}}))
    command = [str(LITELLM / "bin/litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with processes.running([*command, "--num_workers", "1"], os.environ | LITELLM_ENV, folder) as running:
        origin = f"http://127.0.0.1:{port}"
        processes.wait_for(f"{origin}/health/liveliness")
        yield Server(name="litellm", url=origin, pid=running.pid, headers=(f"authorization: Bearer {KEY}",), seconds=2)


@contextmanager
def portkey(folder: Path, to: Server) -> Iterator[Server]:
    """As it comes: without keys, budgets or a ledger."""
    port = free_port()
    command = ["node", str(PORTKEY_STARTS), "--headless", f"--port={port}"]
    with processes.running(command, os.environ | {"NODE_ENV": "production"}, folder) as running:
        processes.wait_for(f"http://127.0.0.1:{port}/")
        headers = (
            f"authorization: Bearer {KEY}",
            "x-portkey-provider: openai",
            f"x-portkey-custom-host: {to.url}/v1",
        )
        yield Server(name="portkey", url=f"http://127.0.0.1:{port}", pid=running.pid, headers=headers)
