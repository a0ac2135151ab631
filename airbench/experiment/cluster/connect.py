"""Joining a Ray cluster, or starting Ray on this machine; the nodes, and the workers that they can hold."""

import logging
import os
import re
import shutil
import signal
import socket
import tempfile
import warnings
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airbench.device import cpu_count
from airbench.errors import AirbenchError
from airbench.experiment.cluster import actor
from airbench.recipe import Recipe
from airbench.recipe.shipped import configs_folder

LOCAL = "local"
"""The address that stands for a Ray of our own on this machine."""

_PACKAGE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Need:
    """What each trial of an experiment needs of a node."""

    gpu: bool
    threads: int | None
    """CPU threads if it needs no GPU; None: the whole node."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster."""

    index: int
    """From 0, in the order in which they were found; this is what runs record."""
    id: str
    address: str
    cpus: float
    gpus: float
    store: int
    """Bytes of its object store."""

    def __str__(self) -> str:
        return f"node {self.index} ({self.address})"

    def holds(self, need: Need) -> int:
        """Return how many trials it can train at a time."""
        if need.gpu:
            return int(self.gpus)
        return min(1, int(self.cpus)) if need.threads is None else int(self.cpus // need.threads)

    def resources(self, need: Need) -> dict[str, float]:
        """Return what Ray sets aside for one of them."""
        if need.gpu:
            return {"num_gpus": 1, "num_cpus": 0}
        return {"num_gpus": 0, "num_cpus": self.cpus if need.threads is None else need.threads}


class Cluster:
    """A connection to Ray, made when it is first needed. Without Ray, creating it raises AirbenchError."""

    def __init__(self, address: str = LOCAL, threads: int | None = None):
        """``threads``: CPU threads of a trial, unless its recipe says; None: a whole node for each."""
        try:
            with warnings.catch_warnings(action="ignore"):
                import ray
        except ImportError:
            raise AirbenchError("--ray: Ray is not installed; pip install ray") from None
        self.ray: Any = ray
        self.address, self.threads = address, threads
        self.nodes: list[Node] = []
        self.workers: list[Any] = []
        """Of all experiments that use this connection, one after the other: :class:`remote.RemoteWorker`."""
        self.mailbox: Any = None

    def connect(self) -> None:
        """Join the cluster, or start Ray here. Raises AirbenchError, in one line, if that fails."""
        if self.nodes:
            return
        if not self.ray.is_initialized():
            self._init()
            if self.address != LOCAL and not self._has_package_everywhere():
                self.ray.shutdown()  # Ray sends code only to those who join with it
                self._init(send_package=True)
        self.nodes = self._nodes()

    def describe(self) -> dict[str, Any]:
        """Return what a run records of the cluster."""
        return {"version": self.ray.__version__, "nodes": len(self.nodes), "local": self.address == LOCAL}

    def need(self, recipe: Recipe) -> Need:
        """Return what a trial of ``recipe`` needs. Raises AirbenchError if no node has it."""
        device = recipe.engine.device
        if device == "mps":
            raise AirbenchError("engine.device = mps: Ray knows no Apple GPUs; train without --ray")
        gpus = any(node.gpus >= 1 for node in self.nodes)
        if device.startswith("cuda") and not gpus:
            raise AirbenchError(f"engine.device = {device}: the cluster has no GPU; use auto or cpu")
        threads = recipe.engine.threads
        if threads and self.threads and threads != self.threads:
            raise AirbenchError(
                f"--ray-threads {self.threads}: the recipe says engine.threads = {threads}; leave it out"
            )
        need = Need(gpus and device != "cpu", threads or self.threads)
        if not any(node.holds(need) for node in self.nodes):
            most = max((node.cpus for node in self.nodes), default=0)
            raise AirbenchError(f"{need.threads} threads a trial: the largest node has {most:g} CPUs for Ray")
        return need

    def capacity(self, recipe: Recipe) -> int:
        """Return how many trials of ``recipe`` can be trained at a time. Raises AirbenchError if none can."""
        self.connect()
        need = self.need(recipe)
        return sum(node.holds(need) for node in self.nodes)

    def alive(self, node: Node) -> bool:
        """Return whether the cluster still counts on a node."""
        return any(found["NodeID"] == node.id and found["Alive"] for found in self.ray.nodes())

    def on(self, node: Node, **resources: float) -> dict[str, Any]:
        """Return Ray's options for something that must run on a node."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node.id, soft=False), **resources}

    def remote(self, function: Any) -> Any:
        """Make a function or class of :mod:`actor` one that Ray runs, sent by value."""
        self.ray.cloudpickle.register_pickle_by_value(actor)
        return self.ray.remote(function)

    def _init(self, send_package: bool = False) -> None:
        _quiet()
        self._knock()
        local = {"num_cpus": cpu_count(), "include_dashboard": False} if self.address == LOCAL else {}
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"), _calm():
            sent = {"runtime_env": {"py_modules": [str(packed(Path(folder)))]}} if send_package else {}
            try:
                self.ray.init(
                    self.address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True,
                    ignore_reinit_error=True, **local, **sent,
                )  # fmt: skip
            except (ConnectionError, RuntimeError, ValueError, OSError, self.ray.exceptions.RayError) as error:
                what = "cannot be started on this machine" if self.address == LOCAL else "cannot be joined"
                raise AirbenchError(f"--ray {self.address}: Ray {what}: {first_sentence(error)}") from None

    def _knock(self) -> None:
        """Raise AirbenchError if nobody answers at the address. Ray itself would try for minutes."""
        host, _, port = self.address.rpartition(":")
        if host:
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
            except (OSError, OverflowError) as error:
                raise AirbenchError(f"--ray {self.address}: Ray cannot be joined: {error}") from None

    def _has_package_everywhere(self) -> bool:
        look = self.remote(actor.has_package)
        answers = [look.options(**self.on(node, num_cpus=0)).remote() for node in self._nodes()]
        with suppress(self.ray.exceptions.RayError):  # a node that went away is none of ours
            return all(self.ray.get(answers))
        return True

    def _nodes(self) -> list[Node]:
        head = self.ray.get_runtime_context().get_node_id()
        found = [node for node in self.ray.nodes() if node["Alive"]]
        found.sort(key=lambda node: (node["NodeID"] != head, node["NodeManagerAddress"], node["NodeID"]))
        return [
            Node(
                index,
                node["NodeID"],
                node["NodeManagerAddress"],
                node["Resources"].get("CPU", 0),
                node["Resources"].get("GPU", 0),
                int(node["Resources"].get("object_store_memory", 0)),
            )
            for index, node in enumerate(found)
        ]


def packed(folder: Path) -> Path:
    """Copy the package, with the shipped recipes inside, into ``folder``; return the copy."""
    copy = folder / _PACKAGE.name
    shutil.copytree(_PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    if not (copy / "configs").exists():
        shutil.copytree(configs_folder(), copy / "configs")
    return copy


def first_sentence(error: BaseException) -> str:
    """Return the first line of an error that says something, short enough for one line."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def _quiet() -> None:
    """Keep Ray's own log out of the output, and its statistics at home."""
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_BACKEND_LOG_LEVEL": "fatal",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_DEDUP_LOGS": "0",
    }.items():
        os.environ.setdefault(name, value)


@contextmanager
def _calm() -> Iterator[None]:
    """Inside the block, discard what Ray's C++ parts write to standard error; after it, undo Ray's signal handler."""
    with ExitStack() as undo:
        handler = signal.getsignal(signal.SIGTERM)
        with suppress(OSError):  # where there is no standard error
            before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            for close in (lambda: os.close(nowhere), lambda: os.close(before), lambda: os.dup2(before, 2)):
                undo.callback(close)
        try:
            yield
        finally:
            with suppress(ValueError):  # not the main thread
                signal.signal(signal.SIGTERM, handler)


def same_need(needs: Collection[Need]) -> Need:
    """Return the need that all recipes of an experiment share. Raises AirbenchError if they do not."""
    if len(set(needs)) > 1:
        raise AirbenchError("with --ray, all recipes of a command train on one kind of device, with as many threads")
    return next(iter(needs))
