"""What a run tells its watchers: interface.py; plain.py, report_log.py and logs.py log it.

Tested by tests/watch.
"""
