"""List the runs there are, and check whether one is a record."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airbench.cli.arguments import RUNS, add_plugins, load_plugins, positive, share
from airbench.cli.report import readable
from airbench.errors import AirbenchError
from airbench.runs import find_runs, read_run
from airbench.text import say

if TYPE_CHECKING:
    from airbench.analysis.reruns import Rerun

_VERIFY_HELP = """\
Check a run against the rule for records. The last line is the verdict; the exit code is 0 only for a record.

The folder is checked against itself: hashes that chain its trials, and figures that follow from each other. --rerun K
trains K of its trials again, chosen at random: on the same CPU and code every bit must be the same, elsewhere and on
a GPU the accuracy must fit the run's other trials.

A record is a run whose folder is intact and consistent; with 8 or more trials, their number fixed in advance, none
missing and none failed; with consecutive seeds, none of them held fixed; whose mean accuracy reaches the target
with p < 0.01 in a one-sided t-test corrected for skewness and for bad trials that may be missing; on the full
genuine training data; with committed code; on one machine or like ones, with no change between the first and the
last trial.
"""


def add_commands(commands: Any) -> None:
    """Add ``runs`` and ``verify``."""
    runs = commands.add_parser("runs", help="list runs, newest first")
    runs.add_argument("folder", nargs="?", type=Path, default=RUNS, help="folder to search (default runs)")
    runs.add_argument("--match", metavar="TEXT", default="", help="only those with TEXT in their path or recipe's name")
    runs.add_argument("--json", action="store_true", help="print JSON")
    runs.set_defaults(command=_list)

    verify = commands.add_parser(
        "verify",
        help="check whether a run is a record",
        description=_VERIFY_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verify.add_argument("run", type=Path, help="a run folder")
    verify.add_argument("--target", type=share, help="mean accuracy to reach (default: the recipe's target)")
    verify.add_argument("--rerun", type=positive, metavar="K", help="train K of its trials again, chosen at random")
    verify.add_argument("--data", metavar="PATH", help="with --rerun: a local copy of the images")
    verify.add_argument("--device", help="with --rerun: cuda, cuda:1, cpu or mps (default: the recipe's)")
    add_plugins(verify)
    verify.set_defaults(command=_verify)


def _list(options: argparse.Namespace) -> int:
    from airbench.analysis.summary import listing_rows, summarize_run, table

    if not options.folder.is_dir() and options.folder != RUNS:
        raise AirbenchError(f"{options.folder}: no such folder")
    records = readable(read_run, find_runs(options.folder)) if options.folder.is_dir() else []
    records = [run for run in records if options.match in str(run.path) or options.match in run.name]
    if options.json:
        rows = [
            {"path": str(r.path), "recipe": r.name, "problems": list(r.problems), **summarize_run(r)} for r in records
        ]
        print(json.dumps(rows, indent=1))
    elif not records:
        such = f" with {options.match} in their path or name" if options.match else ""
        print(f"no runs{such} under {options.folder}; start one: airbench train quickstart")
    else:
        print("\n".join(table(listing_rows(records))))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from airbench.analysis.verify import verdict_lines, verify

    load_plugins(options)
    run = read_run(options.run)
    target = options.target if options.target is not None else run.target
    if target is None:
        raise AirbenchError(f"{run.path}: its recipe has no target; give one with --target")
    reruns: list[Rerun] = []
    if not options.rerun and (options.data or options.device or options.plugin):
        raise AirbenchError("--data, --device and --plugin belong to --rerun, which trains trials again")
    if options.rerun:
        from airbench.experiment.rerun import rerun_trials

        reruns = rerun_trials(run, options.rerun, data=options.data, device=options.device)
    verdict = verify(run, target, reruns)
    say(*verdict_lines(verdict))
    return 0 if verdict.is_record else 1
