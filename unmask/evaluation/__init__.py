"""Scores: metrics of the tasks, and the statistics that say what a difference of scores is worth. Imports no torch."""
