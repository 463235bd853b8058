"""go-queue's `kq` in Python: KqConf, Pusher and Queue, by the names people know."""

from kqworker.kq.async_pusher import AsyncDelivery, AsyncPusher, new_async_pusher
from kqworker.kq.balancers import CRC32Balancer, Hash, LeastBytes, Murmur2Balancer, RoundRobin
from kqworker.kq.conf import KqConf, load, must_load
from kqworker.kq.push_options import (
    with_allow_auto_topic_creation,
    with_balancer,
    with_buffer,
    with_chunk_size,
    with_compression,
    with_flush_interval,
    with_on_delivery,
    with_sasl,
    with_sync_push,
    with_tls,
)
from kqworker.kq.pusher import Pusher, new_pusher

__all__ = [
    "AsyncDelivery",
    "AsyncPusher",
    "CRC32Balancer",
    "Hash",
    "KqConf",
    "LeastBytes",
    "Murmur2Balancer",
    "Pusher",
    "RoundRobin",
    "load",
    "must_load",
    "new_async_pusher",
    "new_pusher",
    "with_allow_auto_topic_creation",
    "with_balancer",
    "with_buffer",
    "with_chunk_size",
    "with_compression",
    "with_flush_interval",
    "with_on_delivery",
    "with_sasl",
    "with_sync_push",
    "with_tls",
]
