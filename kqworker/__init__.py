"""A multiprocessing worker framework for Python over Kafka."""

__version__ = "0.1.0"
