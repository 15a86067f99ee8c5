"""Measurements of speed, memory and endurance; `python -m benchmarks` lists them."""
