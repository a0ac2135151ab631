"""The Python API: train a recipe from a script or a notebook, with a net or images of one's own.

`trial.py`: train and its result. `runs.py`: what runs have kept. `classic.py` and `loader.py`: the functions and the
loader that users of the airbench package know.
"""
