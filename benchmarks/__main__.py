"""`python -m benchmarks [NAME …] [--brokers HOST:PORT]`: every figure of the README.

Ratios within one run; a machine that does something else at the same time makes noise.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from benchmarks import ground

NAMES = ("cpu", "throughput", "latency", "bad_handlers", "go_queue")


def main() -> int:
    """Run the benchmarks that are named, or all; 1 if a figure is below its bound."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--brokers", help="a broker to use; default: one of its own")
    arguments = parser.parse_args()
    met = True
    with ground.broker(arguments.brokers) as brokers:
        for name in arguments.names or NAMES:
            met = importlib.import_module(f"benchmarks.{name}").main(brokers) and met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
