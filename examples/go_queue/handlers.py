"""The same handler in a module, for `kqworker kq -f config.yaml handlers:handle`."""


def handle(key: str, value: str) -> None:
    """Print a message."""
    print(f"=> {value}")
