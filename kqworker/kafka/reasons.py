"""Why a broker cannot be reached, from what librdkafka says about it.

Decides which of its lines give a reason, how the reason is worded, and which reasons make
waiting useless. Knows nothing of its callers. Tested by tests/kafka_unit/test_reasons.py.
"""

from __future__ import annotations

import re

from confluent_kafka import KafkaError

from kqworker.kafka.logs import client_log, plain

_BROKER = re.compile(r"^(?:\w+://)?(.+?)/(?:bootstrap|-?\d+): (.*)$", re.DOTALL)
_REASONS = (
    (re.compile(r"^Connect to \S+ failed: (.*)$"), "{}"),
    (re.compile(r"^Failed to resolve '[^']*': (.*)$"), "the host name is unknown ({})"),
    (re.compile(r"^SASL authentication error: (.*)$"), "{}"),
    # A listener that wants TLS, or none, hangs up.
    (re.compile(r"^(Disconnected: .*)$"), "{} (is security.protocol right?)"),
)


class Ear:
    """Hears from librdkafka why brokers cannot be reached, and passes its lines on.

    Args:
        address: What the user calls Kafka.

    Attributes:
        refusal: Why waiting is useless; None while it is not.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self.refusal: str | None = None
        self._reasons: dict[str, str] = {}

    def forget(self) -> None:
        """Forget all reasons: a broker has answered."""
        self._reasons.clear()

    def why(self) -> str:
        """Return the last reason of each broker; empty if there was none; from any thread."""
        reasons = self._reasons.copy()
        if len(set(reasons.values())) == 1:
            return next(iter(reasons.values()))
        return ", ".join(f"{broker}: {reason}" for broker, reason in reasons.items())

    def log(self, level: int, form: str, facility: str, client: str, text: str) -> None:
        """Take a line of the log."""
        if facility == "FAIL":
            broker, reason = reason_of(plain(text))
            # "Disconnected" comes after its cause, and says less.
            if broker not in self._reasons or not reason.startswith("disconnected"):
                self._reasons[broker] = reason
        client_log.log(level, form, facility, client, text)

    def error(self, error: KafkaError) -> None:
        """Take an error."""
        _, reason = reason_of(plain(error.str()))
        if error.code() == KafkaError._AUTHENTICATION:
            self.refusal = f"Kafka at {self._address} refuses the login: {reason}"
        elif error.code() == KafkaError._SSL:
            self.refusal = f"cannot reach Kafka at {self._address}: {reason}"
        client_log.error(error)


def reason_of(text: str) -> tuple[str, str]:
    """Return the broker that a line is about, and the reason that it gives.

    >>> reason_of("b:1/bootstrap: Connect to ipv4#10.0.0.1:1 failed: Connection refused")
    ('b:1', 'connection refused')
    """
    found = _BROKER.match(text)
    broker, text = (found[1], found[2]) if found else ("", text)
    for pattern, form in _REASONS:
        if matched := pattern.match(text):
            text = form.format(matched[1])
            break
    # "SSL handshake" keeps its capital; "Connection refused" loses it in our sentence.
    return broker, text[:1].lower() + text[1:] if text[1:2].islower() else text
