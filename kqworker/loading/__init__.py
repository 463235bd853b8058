"""From an import string to the App: import_string.py, what a file defines, and what has changed.

Tested by tests/loading.
"""
