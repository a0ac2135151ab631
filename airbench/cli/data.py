"""The command that shows which images would be used, and imports a copy of them."""

import argparse
from pathlib import Path
from typing import Any

from airbench.cli.arguments import add_plugins, load_plugins
from airbench.errors import AirbenchError
from airbench.recipe import load_recipe
from airbench.recipe.load import data_override

_HELP = """\
Fetch the images of a recipe, and say where they come from and whether they are genuine.

  airbench data                           for recipes that use CIFAR-10
  airbench data quickstart                for that recipe
  airbench data --import cifar10.tgz      decode a local copy into the cache, the default source
  airbench data cifar100.yaml --import cifar-100-python.tar.gz
"""


def add_commands(commands: Any) -> None:
    """Add ``data``."""
    data = commands.add_parser(
        "data",
        help="show which images would be used; import a copy",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data.add_argument("recipe", nargs="?", help="a recipe file (default: CIFAR-10)")
    data.add_argument("--data", metavar="PATH", help="a local copy of the images, an archive or a folder")
    data.add_argument("--import", dest="import_path", type=Path, metavar="PATH", help="decode this copy into the cache")
    add_plugins(data)
    data.set_defaults(command=_data)


def _data(options: argparse.Namespace) -> int:
    from airbench.data import sources
    from airbench.data.cache import cache_folder
    from airbench.recipe.data import DATASETS, Data

    if options.data is not None and options.import_path is not None:
        raise AirbenchError("--data has no effect beside --import, which names the copy itself; leave it out")
    load_plugins(options)
    overrides = [] if options.data is None else [data_override(options.data)]
    data = load_recipe(options.recipe, overrides).recipe.data if options.recipe else Data(path=options.data)
    if options.import_path is not None:
        spec = DATASETS[data.name]
        dataset = sources.import_copy(spec, options.import_path)
        print(f"{sources.genuineness(dataset)}\nimported into {sources.imported_file(spec)}")
        return 0
    origin = sources.find_origin(data)
    where = f" {origin.path}" if origin.path else ""
    print(f"images: {data.name}\nfrom:   {origin.kind}{where}\nas:     {origin.because}")
    dataset = sources.load_dataset(data)
    print(f"cache:  {cache_folder() or 'none'}")
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        shape = "×".join(map(str, split.images.shape[1:]))
        print(f"{name + ':':<7} {len(split):,} images of {shape}, fingerprint {split.fingerprint}")
    print(sources.genuineness(dataset))
    return 0
