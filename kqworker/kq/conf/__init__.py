"""go-queue's configuration: conf.py and sections.py are its table, formats.py reads its files.

Tested by tests/kq/test_conf.py and the files beside it and, against Go, by
tests/interop/test_conf.py.
"""
