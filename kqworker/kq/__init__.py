"""go-queue's `kq` in Python: KqConf, Pusher and Queue, by the names people know."""
