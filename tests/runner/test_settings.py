"""What `[runner]` refuses."""

import pytest
from pydantic import ValidationError

from runner.settings import RunnerSettings


@pytest.mark.parametrize(
    ("networks", "why"),
    [
        ({"agent_networks": "10.231.0.0/16"}, "overlap"),
        ({"network": "10.231.9.0/24"}, "overlap"),
        ({"agent_networks": "10.9.0.0/25"}, "smaller than a /24"),
        ({"agent_networks": "10.231.0.1/17"}, "not a valid IPv4 network"),
        ({"door": "10.231.254.2"}, "door is no address of network"),
    ],
)
def test_networks_that_can_t_be_are_refused(networks: dict[str, str], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        RunnerSettings.model_validate(networks)
    assert RunnerSettings().agent_networks.num_addresses == 4096 * 8
