"""Which addresses may be dialled for anybody: public ones, also where IPv6 wraps an IPv4 address."""

import pytest

from kit.errors import Refused
from kit.outbound import Outbound, public


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "239.1.1.1", "240.0.0.1"),
        *("::", "::1", "fe80::1%lo", "fc00::1", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1", "2001:0:7f00:1::"),
        *("::ffff:127.0.0.1", "::ffff:0:7f00:1", "::127.0.0.1", "::8.8.8.8", "2002:7f00:1::", "2002:e000:1::"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808"),
    ],
)
def test_what_is_not_public_is_told_apart(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_public_addresses_stay_so_in_their_wrappings(address: str) -> None:
    assert public(address)


@pytest.mark.parametrize("host", ["fec0::1", "64:ff9b::7f00:1", "0x7f.1", "2130706433", "localhost", "224.0.0.1"])
async def test_a_host_at_no_public_address_is_refused_before_anything_is_dialled(host: str) -> None:
    outbound = Outbound()
    with pytest.raises(Refused) as refused:
        await outbound.post(f"http://[{host}]/" if ":" in host else f"http://{host}/", body=b"", headers={})
    assert refused.value.code == "address_private"
    await outbound.close()
