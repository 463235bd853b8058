"""What a run tells its watchers: interface.py, as log lines plain.py, report_log.py and logs.py.

Tested by tests/watch.
"""
