"""`kqworker broker`: the built-in broker alone, until Ctrl-C.

Decides what is printed, and when it ends. Tested by tests/cli/test_broker.py.
"""

from __future__ import annotations

import signal

import click

from kqworker.cli.terminal import say
from kqworker.errors import BrokerError, ConfigError
from kqworker.exits import Exit

ENDING = {signal.SIGINT, signal.SIGTERM}


@click.command()
def broker() -> Exit:
    """Run the built-in broker, for development, until Ctrl-C."""
    from kqworker.kafka import devbroker

    if (address := devbroker.running()) is not None:
        raise ConfigError(f"a built-in broker already runs at {address}")
    with devbroker.start_dev_broker() as started:
        # Blocked before the address is printed: the loop below waits for such a signal.
        # SIGCHLD too: the broker's process may end by itself.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING | {signal.SIGCHLD})
        try:
            started.announce()
            click.echo(started.address)
            say(devbroker.LIMITS)
            say("`kqworker run` and `push` of this user find it by themselves. Ctrl-C ends it.")
            while signal.sigwait(ENDING | {signal.SIGCHLD}) not in ENDING:
                if devbroker.running() is None:
                    raise BrokerError("the built-in broker has ended")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Exit.CLEAN
