"""go-queue's Queue: queue.py and group.py run it, translate.py says what its file means.

Tested by tests/kq and tests/kafka/test_kq.py.
"""
