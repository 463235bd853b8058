"""A world of simulated Kafka, sink and workers that drives the core through faults.

    python -m tests.sim.runner --seed 123      replay one seed, with its story
    python -m tests.sim.runner --seeds 2000    many seeds, on all cores
    python -m tests.sim.planted                every planted fault must be caught

`scenario` draws what a seed is about, `directed` bends that to rare coincidences, `kafka` and
`workers` are the simulated ports, `life` is one supervisor's life in them, `oracle` knows what
the supervisor has been told (in `views`), `invariants` and `work` check every command against
that and against the truth, `world` strings lives together.
Everything is drawn from the seed and time is virtual: a failing seed fails again.
"""
