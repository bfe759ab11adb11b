"""Sweeps: many trainings of one config, over a grid, a search, seeds or folds; any number of processes share one."""
