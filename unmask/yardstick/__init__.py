"""The yardstick: what a run's pre-training taught, when, and what it is worth on tasks. Made of the jobs."""
