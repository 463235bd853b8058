"""Work of a known size. Apart from the apps: they read their topic when they are imported."""

from __future__ import annotations


def spin(loops: int) -> int:
    """Burn CPU: the same work wherever it runs."""
    total = 0
    for i in range(loops):
        total += i
    return total
