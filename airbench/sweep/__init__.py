"""Sweeps: train a recipe at many settings, judged on held-out images, and name the best with its uncertainty.

`config.py`: a sweep as a YAML file. `axes.py`: what varies, and the settings that are tried. `folder.py`: what a
sweep leaves on disk. `search.py`: train the settings (`trained.py`), in a given order or as Optuna chooses them
(`tpe.py`), then the best again with fresh seeds. `results.py`, `effects.py`, `figure.py`: the table, what matters,
the figure, the recipe of the best. `telescope.py`: a sweep for each width of the net, around the optimum
(`optimum.py`) of the one before.
"""
