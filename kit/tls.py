"""Whom this process trusts when it dials: the system's authorities, or those that SSL_CERT_FILE names; read once, since
reading them takes longer than most of what is asked.
"""

import functools
import ssl

import certifi


@functools.cache
def context() -> ssl.SSLContext:
    """For every client of ours. A machine without authorities of its own gets Mozilla's."""
    trusted = ssl.create_default_context()
    if not trusted.cert_store_stats()["x509_ca"]:
        trusted.load_verify_locations(certifi.where())
    return trusted
