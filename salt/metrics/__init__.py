"""Metrics: what a task's answers are worth, counted batch by batch."""
