"""Images for the nodes: in the object store, which sends them to each node once, or the node's own copy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airbench.data.dataset import Dataset
from airbench.errors import AirbenchError
from airbench.experiment.cluster.connect import Cluster, Node
from airbench.experiment.cluster.session import Parcel
from airbench.experiment.worker import Worker, images_key
from airbench.recipe import Recipe

ROOM = 0.9
"""Share of an object store that images may take."""


@dataclass(frozen=True)
class _Sent:
    fingerprints: tuple[str, str]
    size: int
    reference: Any
    """None if they do not fit into this machine's own store."""


class Images:
    """The images of an experiment, as the head has loaded them."""

    def __init__(self, cluster: Cluster, worker: Worker):
        self.cluster, self.worker = cluster, worker
        self._sent: dict[str, _Sent] = {}

    def parcel(self, recipe: Recipe, node: Node) -> tuple[Parcel, list[Any]]:
        """Return what a node needs of ``recipe``, and a reference to its images, or none if it must have its own.

        Raises DataError if there are no images on this machine either.
        """
        sent = self._put(recipe)
        files = {}
        if recipe.data.subset is not None:
            try:
                files[recipe.data.subset] = Path(recipe.data.subset).expanduser().read_bytes()
            except OSError as error:
                raise AirbenchError(f"data.subset = {recipe.data.subset}: {error.strerror}") from None
        for store, whose in ((self.cluster.nodes[0].store, "this machine's"), (node.store, "its")):
            if sent.size > ROOM * store:
                why = f"{whose} object store ({store >> 20} MiB) is too small for the images ({sent.size >> 20} MiB)"
                return Parcel(sent.fingerprints, why, files), []
        return Parcel(sent.fingerprints, "", files), [sent.reference]

    def _put(self, recipe: Recipe) -> _Sent:
        key = images_key(recipe.data)
        if key not in self._sent:
            dataset = self.worker.dataset(recipe)
            size = nbytes(dataset)
            fits = size <= ROOM * self.cluster.nodes[0].store
            reference = self.cluster.ray.put(dataset) if fits else None
            self._sent[key] = _Sent((dataset.train.fingerprint, dataset.test.fingerprint), size, reference)
        return self._sent[key]


def nbytes(dataset: Dataset) -> int:
    """Return the bytes that images and labels take."""
    return sum(split.images.nbytes + split.labels.nbytes for split in (dataset.train, dataset.test))
