"""Notices over apprise, an optional library for about a hundred services; imported only where a channel names it.

It dials by itself, in a thread of the sender: redirects are off, and hosts at private addresses are refused as long as
nobody named them, but by a look beforehand and not at the socket. Only addresses an admin wrote in preloop.toml get
here.
"""

from collections.abc import Sequence
from typing import Any

import anyio

from kit.errors import Invalid, Unavailable
from kit.outbound import Outbound

LIMIT_S = 30.0


def open_services(urls: Sequence[str]) -> Any:  # noqa: ANN401 - the library's own class
    """The services behind addresses as apprise writes them, or Invalid at the start instead of at the first notice."""
    try:
        import apprise
    except ImportError as error:
        raise Invalid(
            "apprise_missing",
            "A notify channel is of type apprise, and apprise is not installed.",
            "Install the extras: `make extras`, or take the channel out of preloop.toml.",
        ) from error
    services = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Preloop", async_mode=False, http_redirects=False))
    for number, url in enumerate(urls, start=1):
        if not services.add(url):
            scheme = url.partition("://")[0][:20]
            raise Invalid(
                "settings_invalid",
                f"Address {number} of an apprise channel ({scheme}://…) is none that apprise knows.",
                "Its documentation lists the services and how they are written.",
            )
    for service in services:
        service.redirects = False  # also where an address asks for them
    return services


async def send(services: Any, outbound: Outbound, *, title: str, text: str) -> None:  # noqa: ANN401
    """Tell every service; Unavailable when one did not take it, for apprise does not say why."""
    for service in services:
        await _refuse_private(service, outbound)

    def tell() -> bool:
        return bool(services.notify(title=title, body=text, body_format="text"))

    try:
        with anyio.fail_after(LIMIT_S):
            taken = await anyio.to_thread.run_sync(tell, abandon_on_cancel=True)
    except TimeoutError as error:
        raise Unavailable("notice_refused", f"apprise gave no answer in {LIMIT_S:g} s.") from error
    if not taken:
        names = ", ".join(sorted({str(service.service_name) for service in services}))
        raise Unavailable("notice_refused", f"{names} by apprise did not take the notice.", "Look at [notify].")


async def _refuse_private(service: Any, outbound: Outbound) -> None:  # noqa: ANN401
    """Where an address names a host; of many services it names an account, and the host is the service's own."""
    if any("{host}" in template for template in service.templates):
        for host in (service.host, getattr(service, "smtp_host", None)):
            if host:
                await outbound.refuse_private(str(host))
