"""What a function asks for, and which function a call of it really calls.

The names that other rooms use; each is explained at its own place.
"""

from kqworker.app.signature.called import (
    cannot_be_called,
    has_yield,
    is_async,
    plain_function,
    settled,
)
from kqworker.app.signature.reading import Forms, Parameter, Role, Signature, read_signature

__all__ = [
    "Forms",
    "Parameter",
    "Role",
    "Signature",
    "cannot_be_called",
    "has_yield",
    "is_async",
    "plain_function",
    "read_signature",
    "settled",
]
