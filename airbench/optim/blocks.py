"""Matrices that hold several maps, stacked along their rows: the queries, keys and values of an attention."""

from collections.abc import Sequence

from torch import Tensor

from airbench.errors import RecipeError


def blocks(matrix: Tensor, split: int) -> Tensor:
    """Return a matrix ``(..., m, n)`` as ``split`` matrices ``(..., split, m / split, n)``, without a copy."""
    return matrix if split == 1 else matrix.unflatten(-2, (split, -1))


def joined(matrices: Tensor, split: int) -> Tensor:
    """Invert :func:`blocks`."""
    return matrices if split == 1 else matrices.flatten(-3, -2)


def num_rows(p: Tensor, flatten: str) -> int:
    """Return the number of rows of the matrix that Muon makes of a parameter."""
    return p.shape[1] if flatten == "in" else p.shape[0]


def check_split(group: str, split: int, names: Sequence[str], params: Sequence[Tensor], flatten: str) -> int:
    """Return ``split``. Raises RecipeError if a parameter of ``group`` is not so many equal blocks of rows."""
    if split > 1 and flatten == "operator":
        raise RecipeError(
            f"optimizers.{group}.orthogonalize.split = {split}: flatten = operator makes "
            "no matrix of rows to be split; leave out one of the two"
        )
    for name, p in zip(names, params, strict=True):
        rows = num_rows(p, flatten)
        if rows % split:
            raise RecipeError(
                f"optimizers.{group}.orthogonalize.split = {split}: {name} has {rows} rows, which cannot be split into "
                "that many equal blocks; give a divisor, or assign it to another group"
            )
    return split
