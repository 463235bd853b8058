"""What secures a connection, a queue's and a pusher's: TLS and a login, in librdkafka's words.

Decides how both name them and which protocol they make together. Whether a file holds what
it should is `kqworker.certificates`'. Pure. Tested by tests/kq/test_translate.py and
tests/kq/test_push_options.py.
"""

from __future__ import annotations

from typing import Final

from kqworker import certificates

MECHANISMS: Final = ("plain", "scram-sha-256", "scram-sha-512")
# What is called so below `Kqworker: tls:` and by with_tls.
TLS: Final = {
    "ca_file": certificates.CA,
    "cert_file": certificates.CERTIFICATE,
    "key_file": certificates.KEY,
    "key_password": certificates.PASSWORD,
}


def protocol(*, login: bool, tls: bool) -> str:
    """Return the `security.protocol`.

    >>> protocol(login=True, tls=True), protocol(login=False, tls=False)
    ('sasl_ssl', 'plaintext')
    """
    return ("sasl_" if login else "") + ("ssl" if tls else "plaintext")
