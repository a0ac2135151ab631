"""Trials on many devices and machines, by Ray. Nothing here imports ray before it is asked for.

connect.py    joins a cluster or starts Ray here; which nodes there are, and which workers they can hold
actor.py      what Ray sends to a node, by value: it runs before it is known that the package is there
session.py    the worker's side: trains jobs on its node
remote.py     the head's side of a worker: what it is doing, whether it still lives
images.py     which nodes are sent the images
executor.py   hands out jobs, yields outcomes, tries again what a dead worker was training
"""
