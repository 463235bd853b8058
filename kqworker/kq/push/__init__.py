"""go-queue's Pusher: pusher.py and async_pusher.py, the way of their messages, their options.

Tested by tests/kq/test_pusher.py, test_pushing.py and tests/kafka/test_kq_pusher.py.
"""
