"""`[storage]`: where large content is kept. The data folder alone, or an object store behind it (the extra `s3`)."""

from collections.abc import Collection
from urllib.parse import urlsplit

from kit.blobs import Blobs
from kit.errors import Invalid, Unsuitable
from kit.objects import Address, Objects
from preloop.roles import Role
from preloop.sections import StorageSettings
from preloop.settings import Settings

KEEPERS = {Role.WEB, Role.RUNNER, Role.MCP}


def open_blobs(settings: Settings, roles: Collection[Role]) -> Blobs:
    """The store is not asked anything yet; roles that keep no content have none. Unsuitable when one is named and the
    extra is missing."""
    told = settings.storage
    far = open_objects(told) if told.url and KEEPERS & set(roles) else None
    return Blobs(settings.data / "blobs", far, far_from=told.files_from)


def open_objects(told: StorageSettings) -> Objects:
    """The object store that a url names. Invalid where a half of its key is missing: not all roles are told the secret,
    so it is not looked at when settings are read."""
    if bool(told.access_key_id) != bool(told.secret_access_key.get_secret_value()):
        raise Invalid(
            "settings_invalid",
            "storage: access_key_id and secret_access_key are set together, in each of the roles web, mcp and runner.",
            "The secret comes by PRELOOP_STORAGE__SECRET_ACCESS_KEY, or …_FILE.",
        )
    url = urlsplit(told.url)
    address = Address(
        bucket=url.netloc,
        prefix=url.path.strip("/"),
        endpoint=told.endpoint.rstrip("/"),
        region=told.region,
        access_key_id=told.access_key_id,
        secret_access_key=told.secret_access_key.get_secret_value(),
    )
    try:
        return Objects(address)
    except ModuleNotFoundError as error:
        raise Unsuitable(
            "s3_missing",
            "[storage] names an object store, and boto3 is not installed.",
            "Install the extras: `make extras`, or take [storage] out of preloop.toml.",
        ) from error
