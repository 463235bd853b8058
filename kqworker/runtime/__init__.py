"""The shell around worker processes: channels, slots, starting, watching, ending them.

`process.ProcessWorkers` is the port that the loop uses; `worker` and `invoke` run in the
worker. The supervisor's side never blocks; a worker sends bytes, never pickles.
"""
