"""go-queue's consumer of the documents, line for line."""

import kqworker.kq as kq

c = kq.must_load("config.yaml")

q = kq.must_new_queue(c, kq.with_handle(lambda k, v: print(f"=> {v}")))
try:
    q.start()
finally:
    q.stop()
