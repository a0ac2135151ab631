"""A batch file can make numbers, byte strings, lists, dictionaries and arrays of integers, and nothing else."""

import pickle
import pickletools
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airbench.data.layouts import read_local_copy
from airbench.data.pickles import BatchError, load_batch
from airbench.errors import DataError
from airbench.recipe.data import DATASETS
from tests.data.copies import CIFAR10, batch_of, write_batches

PUBLISHED = (
    b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03U\x06labelsq\x04]q\x05(K\x06K\tK\x04e"
    b"U\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\t"
    b"(K\x01K\x03K\x02\x86cnumpy\ndtype\nq\nU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
    b"K\x00tb\x89U\x06abcdeftbu."
)
"""A batch as Python 2 and the numpy of 2009 wrote it."""


def test_a_batch_as_it_was_published() -> None:
    batch = load_batch(PUBLISHED)
    assert batch[b"labels"] == [6, 9, 4]
    assert batch[b"batch_label"] == b"training batch 1 of 5"
    assert batch[b"data"].tolist() == [[97, 98], [99, 100], [101, 102]]


values = st.one_of(st.integers(-(2**40), 2**40), st.binary(min_size=1, max_size=9), st.none(), st.booleans())


@given(
    st.dictionaries(st.binary(min_size=1, max_size=5), st.one_of(values, st.lists(values, max_size=5)), max_size=5),
    st.sampled_from([2, 3, 4]),
)
def test_what_python_reads_is_read_alike(batch: dict, protocol: int) -> None:
    content = pickle.dumps(batch, protocol=protocol)
    assert load_batch(content) == batch
    assert load_batch(pickletools.optimize(content)) == batch


@given(st.sampled_from(["u1", "i1", "<i4", "<i8"]), st.sampled_from("CF"), st.sampled_from([2, 3, 4]))
def test_arrays_of_integers_are_read(kind: str, order: str, protocol: int) -> None:
    array = np.asarray(np.arange(6).reshape(2, 3), kind, order=order)  # type: ignore[call-overload]
    loaded = load_batch(pickle.dumps({b"data": array}, protocol=protocol))[b"data"]
    assert loaded.dtype == array.dtype
    assert np.array_equal(loaded, array)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(2, ">i4"), "another byte order"),
        (np.zeros(2, "f4"), "type f4; only integers"),
        (np.zeros(2, object), "type O8; only integers"),
        (np.zeros(2, [("a", "u1")]), "type V1; only integers"),
        (1.5, "instruction BINFLOAT"),
        ({1, 2}, "instruction EMPTY_SET|names __builtin__.set"),
        ({1: 2}, "keys are no names"),
        (print, "names builtins.print|names __builtin__.print"),
        (bytearray(b"x"), "names builtins.bytearray|names __builtin__.bytearray"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_anything_else_is_refused(value: object, message: str, protocol: int) -> None:
    with pytest.raises(BatchError, match=message):
        load_batch(pickle.dumps({b"data": value}, protocol=protocol))


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x02.", b"\x80\x02K\x01.", PUBLISHED[:-1], PUBLISHED[:90]])
def test_what_is_no_whole_pickle_is_refused(content: bytes) -> None:
    with pytest.raises(Exception):  # noqa: B017 - whatever it is, the reader makes one line of it
        load_batch(content)


def test_a_list_that_holds_itself_and_deep_nesting_do_no_harm() -> None:
    knot: list = []
    knot.append(knot)
    assert load_batch(pickle.dumps({b"labels": knot}, protocol=2))[b"labels"][0] is not None
    deep = b"\x80\x02}U\x01a)" + b"\x85" * 200_000 + b"s."
    assert set(load_batch(deep)) == {b"a"}


class ForeignType:
    """A structure with an object in it, whose flags deny that."""

    def __reduce__(self) -> tuple:
        fields = {"a": (np.dtype("O"), 0)}
        return np.dtype, ("V8",), (3, "|", None, ("a",), fields, 8, 1, 0)


class ForeignPointers:
    """An array of such structures over bytes of the file: what reads it with numpy follows them as pointers."""

    def __reduce__(self) -> tuple:
        make, arguments, _ = np.zeros(0, np.uint8).__reduce__()
        return make, arguments, (1, (10 * 3072,), ForeignType(), False, b"A" * (8 * 10 * 3072))


READ = """
import sys
from pathlib import Path
from airbench.recipe.data import DATASETS
from airbench.data.layouts import read_local_copy
from airbench.errors import DataError
try:
    read_local_copy(DATASETS["cifar10"], Path(sys.argv[1]))
except DataError as error:
    print(error)
"""


def test_an_array_of_foreign_pointers_is_refused_instead_of_followed(tmp_path: Path) -> None:
    root = write_batches(tmp_path)
    batch = {b"data": ForeignPointers(), b"labels": list(range(10))}
    (root / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    done = subprocess.run([sys.executable, "-c", READ, str(root)], capture_output=True, text=True)
    assert done.returncode == 0
    assert "test_batch: not a batch of CIFAR-10 (an array of type V8; only integers are read)" in done.stdout
    assert done.stdout.count("\n") == 1


BATCH = pickle.dumps(batch_of(CIFAR10, *(part[:3] for part in CIFAR10.train)), protocol=2)


@given(st.lists(st.tuples(st.integers(0, len(BATCH) - 1), st.integers(1, 255)), min_size=1, max_size=3))
def test_flipped_bytes_give_a_dictionary_or_an_exception(flips: list[tuple[int, int]]) -> None:
    content = bytearray(BATCH)
    for place, bits in flips:
        content[place % 300 if place % 2 else place] ^= bits  # half of them where the instructions are
    with suppress(Exception):
        assert isinstance(load_batch(bytes(content)), dict)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"data": [1, 2]}, "no array of bytes named data"),
        ({b"data": np.zeros((10, 3072), np.int64)}, "no array of bytes named data"),
        ({b"data": np.zeros((10, 3071), np.uint8)}, "reshape"),
        ({b"labels": [True] * 10}, "no list of integers named labels"),
        ({b"labels": [b"1"] * 10}, "no list of integers named labels"),
        ({b"labels": [10] * 10}, "labels must lie in 0..9"),
        ({b"labels": [2**70] * 10}, "not a batch of CIFAR-10"),
        ({b"labels": np.full(10, -1)}, "labels must lie in 0..9"),
    ],
)
def test_batches_of_wrong_values_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    root = write_batches(tmp_path)
    batch = {**batch_of(CIFAR10, *(part[:10] for part in CIFAR10.train)), **change}
    (root / "data_batch_2").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DataError, match=f"data_batch_2: .*{message}"):
        read_local_copy(DATASETS["cifar10"], root)
