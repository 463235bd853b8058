"""`kqworker init DIR`: an app, its test, its settings and a README to begin with.

Decides what a first app looks like. Never overwrites. Tested by tests/cli/test_create.py.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from kqworker.errors import ConfigError
from kqworker.exits import Exit

APP = '''\
"""Handles the messages of the topic "orders"."""

from dataclasses import dataclass

from kqworker import App

app = App("{name}")


@dataclass
class Order:
    id: int
    amount: float


@app.handler(topic="orders")
def on_order(order: Order) -> None:
    """Runs in a worker process, once for each message; an exception is tried again."""
    print(f"order {{order.id}}: {{order.amount:.2f}}", flush=True)
'''

TEST = '''\
"""A handler is still a plain function: no Kafka is needed to test it."""

from app import Order, on_order


def test_an_order_is_printed(capsys):
    on_order(Order(id=1, amount=9.5))

    assert capsys.readouterr().out == "order 1: 9.50\\n"
'''

SETTINGS = """\
# Every setting may stand here. What counts, and where it comes from: kqworker config app:app
# An option (--workers 4) or a variable (KQWORKER_WORKERS=4) is stronger than this file.

# brokers: localhost:9092
# workers: auto
shutdown_timeout: 30

# Properties for librdkafka; passwords rather by variable: KQWORKER_KAFKA_SASL_PASSWORD
# kafka:
#   security.protocol: sasl_ssl
#   sasl.mechanism: SCRAM-SHA-512
#   sasl.username: {name}
"""

README = """\
# {name}

```
pip install pytest                                       # kqworker is there already
kqworker dev app:app                                     # with a broker of its own, until Ctrl-C
kqworker push orders '{{"id": 1, "amount": 9.5}}'          # in another terminal
pytest                                                   # needs no broker
```

On your own Kafka, which must have the topic `orders`, for kqworker creates none:

```
kqworker check app:app --brokers localhost:9092          # import, settings, broker, topics
kqworker run app:app --brokers localhost:9092
```
"""

FILES = {"app.py": APP, "test_app.py": TEST, "kqworker.yaml": SETTINGS, "README.md": README}


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def init(directory: Path) -> Exit:
    """Write an app, its test and its settings into DIR."""
    taken = [name for name in FILES if (directory / name).exists()]
    if taken:
        raise ConfigError(f"{directory} already has {', '.join(taken)}: nothing was written")
    name = directory.resolve().name.replace('"', "").replace("\\", "") or "app"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, content in FILES.items():
            # Exclusive: a file that has appeared since the check is not overwritten either.
            with (directory / file).open("x", encoding="utf-8") as out:
                out.write(content.format(name=name))
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename}: {error.strerror}") from None
    for file in FILES:
        click.echo(f"wrote {directory / file}")
    click.echo(f"try: cd {shlex.quote(str(directory))} && kqworker dev app:app")
    return Exit.CLEAN
