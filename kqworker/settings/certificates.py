"""Whether the files that secure a connection hold what they should.

Decides why a file cannot be used, in words. The caller knows which setting of the user named
it; here it has librdkafka's name of the property. Knows nothing of Kafka.
Tested by tests/settings/test_certificates.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CA = "ssl.ca.location"
CERTIFICATE = "ssl.certificate.location"
KEY = "ssl.key.location"
PASSWORD = "ssl.key.password"


def fault(properties: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the first file that cannot be used, by its property, and why; None if all can.

    Args:
        properties: `ssl.ca.location`, `ssl.certificate.location` and `ssl.key.location` with
            `ssl.key.password` are checked; every other `….location` must only be
            readable.
    """
    for name, file in properties.items():
        if name.endswith(".location"):
            try:
                with Path(file).open("rb"):
                    pass
            except (OSError, ValueError) as error:  # a NUL in its name
                return name, f"cannot be read: {getattr(error, 'strerror', error)}"
    if not properties:
        return None
    # The import takes 10 ms, and connections without certificates do not need it.
    import ssl

    for name in (CA, CERTIFICATE):
        if name in properties:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(properties[name])
            except ssl.SSLError:
                return name, "holds no certificates in PEM's form"
    if CERTIFICATE in properties and KEY in properties:
        certificate, key = properties[CERTIFICATE], properties[KEY]
        try:
            # Without a password OpenSSL would ask for one at the terminal.
            password = properties.get(PASSWORD, "")
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password)
        except (ssl.SSLError, ValueError):  # a password beyond OpenSSL's 1,023 bytes
            text = f"holds no key in PEM's form to {certificate}, or its password is another"
            return KEY, text
    return None
