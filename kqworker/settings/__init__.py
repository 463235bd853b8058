"""What can be set: settings.py the table, values.py single values, origins.py where they stand.

Tested by tests/settings.
"""
