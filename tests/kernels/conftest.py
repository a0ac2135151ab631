"""The kernels for one kind of processor after the other."""

from collections.abc import Iterator

import pytest

from airbench.kernels import kernels


@pytest.fixture(params=[0, 1, 2, 3], ids=["any", "avx2", "avx512", "avx512_bf16"])
def processor(request: pytest.FixtureRequest) -> Iterator[None]:
    """The kernels for a kind of processor, as far as this one can run them."""
    library = kernels()
    assert library is not None
    try:
        if library.airbench_use_processor(request.param) != request.param:
            pytest.skip("this processor cannot run it")
        yield
    finally:
        library.airbench_use_processor(99)
