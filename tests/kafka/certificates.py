"""A throwaway certificate authority and a broker's certificate, for TLS on loopback.

Decides names, key type and validity. Uses keytool, which comes with every Java, so that
TLS needs nothing that a broker does not need anyway. Tested by tests/kafka/test_cluster.py.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.kafka.distribution import java

# It protects nothing: both stores live as long as one test cluster.
PASSWORD = "throwaway"
STORE = "authority.p12"
KEY = ("-keyalg", "EC", "-groupname", "secp256r1", "-validity", "2")


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of one throwaway authority.

    Args:
        keystore: PKCS#12 with the broker's key and its chain.
        authority: PEM of the authority, for `ssl.ca.location`.
    """

    keystore: Path
    authority: Path


def make_authority(folder: Path) -> Path:
    """Makes an authority alone, and returns its PEM: to some cluster that of a stranger."""
    authority, pem = folder / STORE, folder / "authority.pem"
    _keytool(authority, "-genkeypair", "-alias", "ca", "-dname", "CN=test", *KEY, "-ext", "bc:c")
    _keytool(authority, "-exportcert", "-alias", "ca", "-rfc", "-file", str(pem))
    return pem


def make(folder: Path) -> Certificates:
    """Makes an authority and a certificate for 127.0.0.1 and localhost, signed by it."""
    pem = make_authority(folder)
    authority, keystore = folder / STORE, folder / "broker.p12"
    request, signed = folder / "broker.csr", folder / "broker.pem"
    names = "san=ip:127.0.0.1,dns:localhost"
    _keytool(keystore, "-genkeypair", "-alias", "broker", "-dname", "CN=broker", *KEY)
    _keytool(keystore, "-certreq", "-alias", "broker", "-file", str(request))
    _keytool(
        authority,
        *("-gencert", "-alias", "ca", "-rfc", "-ext", names, "-validity", "2"),
        *("-infile", str(request), "-outfile", str(signed)),
    )
    _keytool(keystore, "-importcert", "-alias", "ca", "-noprompt", "-file", str(pem))
    _keytool(keystore, "-importcert", "-alias", "broker", "-noprompt", "-file", str(signed))
    return Certificates(keystore, pem)


def _keytool(store: Path, action: str, *rest: str) -> None:
    command = [str(Path(java()).with_name("keytool")), action, "-keystore", str(store)]
    command += ["-storetype", "PKCS12", "-storepass", PASSWORD, *rest]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
