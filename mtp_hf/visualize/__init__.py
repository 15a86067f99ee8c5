"""Pictures: labels and predictions on images (samples, drawing), sheets of tasks, curves and plots.

Colours of classes are in `class_colors.py`, what a task draws in `task_layers.py`.
"""
