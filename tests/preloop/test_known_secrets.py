"""Every secret of the settings is known to whoever stores agents' output."""

from pathlib import Path

import pytest

from preloop.known_secrets import known_secrets
from preloop.settings import load

CONFIG = """
database = "postgresql://preloop:pass%2Fword@127.0.0.1/preloop"

[models.default]
provider = "openai"
model = "gpt-x"
api_key = "sk-model-0123456789"

[models.other]
provider = "anthropic"
model = "claude-x"
api_key_file = "{key}"

[servers.payments]
url = "http://127.0.0.1:8090/mcp"
headers = {{Authorization = "Bearer ${{PAY_TOKEN}}"}}
"""


def test_keys_headers_files_and_passwords_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAY_TOKEN", "pay-0123456789")
    key = tmp_path / "key"
    key.write_text("sk-file-0123456789\n")
    config = tmp_path / "preloop.toml"
    config.write_text(CONFIG.format(key=key))
    found = known_secrets(load(config=config))
    wanted = {"sk-model-0123456789", "sk-file-0123456789", "Bearer pay-0123456789", "pass/word"}
    assert wanted <= found
