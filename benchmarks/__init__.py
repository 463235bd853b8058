"""Figures as ratios within one run: `python -m benchmarks [NAME …] [--brokers HOST:PORT]`."""
