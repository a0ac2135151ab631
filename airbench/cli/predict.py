"""The command that uses what a run has trained."""

import argparse
import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airbench.cli.arguments import add_plugins, load_plugins, natural, output_file
from airbench.errors import AirbenchError
from airbench.runs import read_run
from airbench.runs.record import one_line
from airbench.text import counted

if TYPE_CHECKING:
    from airbench.training.saved import TrainedNet

_HELP = """\
Classify images with a net that a run has kept (airbench train … --save weights).

  airbench predict runs/<run>                          evaluate it again on the run's test images
  airbench predict runs/<run> --images photos/         class and probability of each image
  airbench predict runs/<run> --images a.png b.jpg --csv out.csv

Of images of another size, the middle square is resized to that of the training images.
"""


def add_commands(commands: Any) -> None:
    """Add ``predict``."""
    predict = commands.add_parser(
        "predict",
        help="classify images with a net that a run has kept",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    predict.add_argument("run", type=Path, metavar="RUN", help="a run folder with weights")
    predict.add_argument("--trial", type=natural, metavar="I", help="which trial's net, from 0 (default: the first)")
    predict.add_argument("--images", nargs="+", type=Path, metavar="PATH", help="PNG or JPEG files, or folders of them")
    predict.add_argument("--csv", type=output_file, metavar="FILE", help="write a table of all probabilities")
    predict.add_argument("--no-tta", action="store_true", help="without test-time augmentation")
    predict.add_argument("--device", default="auto", help="auto, cuda, cuda:1, cpu or mps (default auto)")
    predict.add_argument("--data", metavar="PATH", help="the local copy of the run's images")
    add_plugins(predict)
    predict.set_defaults(command=_predict)


def _predict(options: argparse.Namespace) -> int:
    load_plugins(options)
    from airbench.api.runs import load_net

    trained, trial = load_net(options.run, options.trial, options.device)
    if options.images is None:
        return _evaluate_again(trained, trial, options)
    if options.data is not None:
        raise AirbenchError("--data is where the run's test images are; with --images leave it out")
    from airbench.data.photos import read_photos

    paths, images = read_photos(options.images, trained.shape.side, trained.shape.channels)
    probabilities = trained.logits(images, tta=not options.no_tta).softmax(1).tolist()
    names, classes = [one_line(path) for path in paths], [one_line(name) for name in trained.classes]
    found = [classes[row.index(max(row))] for row in probabilities]
    if options.csv is None:
        width = max(map(len, names))
        for name, label, row in zip(names, found, probabilities, strict=True):
            print(f"{name:<{width}}  {label:<12}  {max(row):.1%}")
        return 0
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["image", "class", *classes])
    for name, label, row in zip(names, found, probabilities, strict=True):
        table.writerow([name, label, *(f"{p:.6f}" for p in row)])
    options.csv.write_bytes(text.getvalue().encode())
    print(f"{counted(len(names), 'image')}: {options.csv}")
    return 0


def _evaluate_again(trained: "TrainedNet", trial: int, options: argparse.Namespace) -> int:
    import torch

    from airbench.data.sources import load_dataset

    if options.csv is not None:
        raise AirbenchError("--csv needs --images; predictions of the test images are kept by --save predictions")
    data = trained.recipe.data
    if options.data is not None:
        data = data.model_copy(update={"path": options.data})
    dataset = load_dataset(data)
    test, images = dataset.test, "held-out images" if dataset.held_out else "test images"
    recorded = read_run(options.run).text("data", "test_fingerprint")
    if recorded and recorded != test.fingerprint:
        images += f" of {dataset.source}, which are not those of the run"
    labels = torch.from_numpy(test.labels).long()
    for words, tta in (("without test-time augmentation", False), ("as the recipe evaluates", True)):
        if tta and options.no_tta:
            continue
        correct = (trained.logits(torch.from_numpy(test.images), tta=tta).argmax(1) == labels).sum().item()
        print(f"trial {trial}: {correct:,} of {len(labels):,} {images}, {correct / len(labels):.2%}, {words}")
    return 0
