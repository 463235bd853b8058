"""What secures a connection, a queue's and a pusher's: TLS and a login, in librdkafka's words.

Decides how both name them and which protocol they make together. Whether a file holds what
it should is `kqworker.certificates`'. Pure. Tested by tests/kq/test_translate.py and
tests/kq/test_push_options.py.
"""

from __future__ import annotations

from typing import Final

from kqworker import certificates

MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
# What is called so below `Kqworker: tls:` and by with_tls.
TLS: Final = {
    "ca_file": certificates.CA,
    "cert_file": certificates.CERTIFICATE,
    "key_file": certificates.KEY,
    "key_password": certificates.PASSWORD,
}


def mechanism(value: object) -> str:
    """Take one of the mechanisms, in any letter case.

    Raises:
        ValueError: It is none; the text says what would be.
    """
    chosen = value.strip().upper() if isinstance(value, str) else ""
    if chosen not in MECHANISMS:
        raise ValueError(f"{', '.join(MECHANISMS[:-1])} or {MECHANISMS[-1]}")
    return chosen


def protocol(*, login: bool, tls: bool) -> str:
    """Return the `security.protocol`.

    >>> protocol(login=True, tls=True), protocol(login=False, tls=False)
    ('sasl_ssl', 'plaintext')
    """
    return ("sasl_" if login else "") + ("ssl" if tls else "plaintext")
