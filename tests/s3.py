"""A real server of S3's API, moto's, in a process of its own. It keeps things in memory, and checks no key."""

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from kit.objects import Address


@contextmanager
def s3() -> Iterator[str]:
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            told = next(line for line in process.stderr if "Running on" in line)
            threading.Thread(target=process.stderr.read, daemon=True).start()  # its log must not fill the pipe
            yield told.split()[-1]
        finally:
            process.kill()


def make_bucket(endpoint: str, prefix: str = "kept/here") -> Address:
    name = f"test-{uuid.uuid4().hex[:12]}"
    httpx.put(f"{endpoint}/{name}", trust_env=False).raise_for_status()
    return address(endpoint, name, prefix)


def address(endpoint: str, bucket: str = "any", prefix: str = "") -> Address:
    """A store that some server stands for."""
    key = {"access_key_id": "AKIATEST", "secret_access_key": "not a real one"}
    return Address(bucket=bucket, prefix=prefix, endpoint=endpoint, **key)
