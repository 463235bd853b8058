"""How bytes become what a handler asks for, and how results and pushes become bytes.

The names that other rooms use; each is explained at its own place.
"""

from kqworker.app.payload.decoding import Decode, absent, decoder, payload_for, undecodable
from kqworker.app.payload.encoding import encode, make_output, topic_fault
from kqworker.app.payload.forms import ANYTHING, TEXT, Form, Payload, is_union, spell
from kqworker.app.payload.results import HeadersLike, Output
from kqworker.app.payload.unrun import refuse_unrun, refuse_untaken

__all__ = [
    "ANYTHING",
    "TEXT",
    "Decode",
    "Form",
    "HeadersLike",
    "Output",
    "Payload",
    "absent",
    "decoder",
    "encode",
    "is_union",
    "make_output",
    "payload_for",
    "refuse_unrun",
    "refuse_untaken",
    "spell",
    "topic_fault",
    "undecodable",
]
