"""Sweeps: train a recipe at many settings, judged on held-out images, and name the best with its uncertainty.

`axes.py`: what varies, and the settings that are tried. `folder.py`: what a sweep leaves on disk. `search.py`: train
the settings, then the best again with fresh seeds. `results.py`: the table, the figure and the recipe of the best.
"""
