"""What secures the connections of a queue and a pusher: TLS and a login, in librdkafka's words.

Decides the names that both have for them, the protocol that they make together, and the words
of go-queue for librdkafka's. `settings.certificates` decides whether a file holds what
it should. Pure. Tested by tests/kq/test_translate.py and
tests/kq/test_push_options.py.
"""

from __future__ import annotations

from typing import Final

from kqworker.settings import certificates

MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
# The names below `Kqworker: tls:` and of with_tls, and librdkafka's.
TLS: Final = {
    "ca_file": certificates.CA,
    "cert_file": certificates.CERTIFICATE,
    "key_file": certificates.KEY,
    "key_password": certificates.PASSWORD,
}
# librdkafka's words, and those for them in a configuration of go-queue.
_IN_KQ: Final = {
    "is security.protocol right?": "does it want TLS? give CaFile, or `Kqworker: {tls: {}}`; "
    "or a login: Username and Password",
    "connecting to a PLAINTEXT broker listener?": "does it want no TLS? CaFile and "
    "`Kqworker: tls` ask for it",
    "ssl.ca.location": "CaFile",
}


def mechanism(value: object) -> str:
    """Take one of the mechanisms, in any letter case.

    Raises:
        ValueError: It is no mechanism; the text lists them.
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


def in_words_of_kq(text: str) -> str:
    """Return why Kafka cannot be reached, with the fields of go-queue for properties.

    >>> in_words_of_kq("hung up (is security.protocol right?)")[:39]
    'hung up (does it want TLS? give CaFile,'
    """
    for theirs, ours in _IN_KQ.items():
        text = text.replace(theirs, ours)
    return text
