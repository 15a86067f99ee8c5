"""Measurements of speed, memory and endurance, each run as `python -m benchmarks.NAME`."""
