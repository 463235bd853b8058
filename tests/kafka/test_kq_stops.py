"""How the Queue of kqworker.kq ends, alone and beside others of its process."""

from __future__ import annotations

import signal

import psutil

from tests.kafka.fixtures import NewTopic
from tests.kafka.records import produce
from tests.kafka.shops import Shop, Start, values

THREAD = """\
import threading
import kqworker.kq as kq

c = kq.must_load("config.yaml")
q = kq.must_new_queue(c, kq.with_handle(lambda k, v: print(f"=> {v}")))

def wait():
    input()
    q.stop()

threading.Thread(target=wait).start()
print("exit", int(q.start()))
"""


def test_another_thread_stops_it(shop: Shop, start: Start) -> None:
    shop.configure()
    (shop.folder / "main.py").write_text(THREAD)
    produce(shop.cluster, shop.topic, values(10), partitions=2)

    program = start("main.py")
    program.until(lambda: len(program.starting("=> ")) == 10, "10 handled")
    program.feed("\n")

    assert program.wait() == 0, program
    assert program.starting("exit ") == ["0"]
    assert "told to stop: draining" in program.out
    assert shop.committed() == {0: 5, 1: 5}


SLOW = """\
import os, time

def handle(key, value):
    print("begun", value)
    while not os.path.exists("go"):
        time.sleep(0.01)
    print("done", value)
"""


def test_a_stop_drains_what_is_being_handled(shop: Shop, start: Start) -> None:
    shop.configure()
    shop.program(SLOW)
    produce(shop.cluster, shop.topic, values(40), partitions=2)

    program = start("main.py")
    program.until(lambda: len(program.starting("begun ")) == 2, "2 begun")
    program.process.terminate()
    program.until(lambda: "draining" in program.out, "it drains")
    (shop.folder / "go").touch()

    assert program.wait() == 0, program
    assert sorted(program.starting("begun ")) == sorted(program.starting("done "))
    assert len(program.starting("done ")) < 10


def test_wait_time_bounds_the_drain(shop: Shop, start: Start) -> None:
    shop.configure(Shutdown={"WaitTime": "200ms"})
    shop.program(SLOW)
    produce(shop.cluster, shop.topic, values(2), partitions=2)

    program = start("main.py")
    program.until(lambda: len(program.starting("begun ")) == 2, "2 begun")

    assert program.stop() == 4, program
    assert "abandoned" in program.out


def test_a_second_interrupt_stops_now(shop: Shop, start: Start) -> None:
    shop.configure(Shutdown={"WaitTime": "600s"})
    shop.program(SLOW)
    produce(shop.cluster, shop.topic, values(2), partitions=2)

    program = start("main.py")
    program.until(lambda: len(program.starting("begun ")) == 2, "2 begun")
    program.process.send_signal(signal.SIGINT)
    program.until(lambda: "Ctrl-C: draining" in program.out, "draining")
    program.process.send_signal(signal.SIGINT)

    assert program.wait() == 4, program


# -- several queues

GROUP = """\
import kqworker.kq as kq

group = kq.ServiceGroup()
for name in ("one.yaml", "two.yaml"):
    c = kq.must_load(name)
    group.add(kq.must_new_queue(c, lambda k, v, name=name: print(name, v)))
with group:
    print("exit", int(group.start()))
"""


def test_two_queues_of_one_process_run_side_by_side(
    shop: Shop, start: Start, topic: NewTopic
) -> None:
    other = Shop(shop.folder, shop.cluster, topic(2))
    shop.configure("one.yaml")
    other.configure("two.yaml", Name="other")
    (shop.folder / "main.py").write_text(GROUP)
    produce(shop.cluster, shop.topic, values(50), partitions=2)
    produce(shop.cluster, other.topic, values(50), partitions=2)

    program = start("main.py")
    program.until(lambda: len(program.starting("one.yaml ")) == 50, "50 of the first")
    program.until(lambda: len(program.starting("two.yaml ")) == 50, "50 of the second")
    # A worker that is killed before it answers for its last message has that tried again.
    program.until(lambda: shop.committed() == other.committed() == {0: 25, 1: 25}, "committed")
    workers = program.workers()

    assert len(workers) == 4
    workers[0].kill()
    workers[3].kill()
    produce(shop.cluster, shop.topic, [b"more"])
    produce(shop.cluster, other.topic, [b"more"])
    program.until(lambda: program.out.count(" more\n") == 2, "both go on")
    assert program.stop() == 0, program
    assert program.starting("exit ") == ["0"]
    assert shop.committed() == other.committed() == {0: 26, 1: 25}
    assert not psutil.wait_procs(workers, 1.0)[1]


def test_when_one_queue_fails_the_other_drains_and_the_error_is_raised(
    shop: Shop, start: Start
) -> None:
    shop.configure("one.yaml")
    shop.configure("two.yaml", Topic="nobody-has-made-it", Group="other")
    (shop.folder / "main.py").write_text(GROUP)

    program = start("main.py")

    assert program.wait() != 0, program
    assert "topic 'nobody-has-made-it' does not exist" in program.out
    assert not program.starting("exit ")
