"""Training where there is less than on Linux: without what Windows lacks, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

from airbench.runs import read_run
from tests.conftest import CONFIGS

WITHOUT_UNIX = """
import ctypes, os, platform, signal, subprocess, sys
import matplotlib, numpy, scipy.stats, torch, torch._dynamo  # libraries may use what they find

platform.libc_ver = lambda *_: ("", "")
for module in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[module] = None  # importing it raises ImportError
for name in ("pread", "pwrite", "getloadavg", "sysconf", "sched_getaffinity", "getuid", "geteuid", "fork", "mkfifo",
             "statvfs", "O_NONBLOCK"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGALRM"):
    delattr(signal, name)
load = ctypes.CDLL

class CDLL(load):
    def __init__(self, name, *more, **options):
        if name is None:
            raise TypeError("bad argument type for built-in operation")
        super().__init__(name, *more, **options)

ctypes.CDLL = CDLL
from airbench.cli import main

sys.exit(main(sys.argv[1:]))
"""


def test_two_trials_are_trained_and_kept_without_what_unix_has(tmp_path: Path) -> None:
    words = ("data.train_images=400", "train.batch_size=100", "train.epochs=1", "net.widths=[8,8,8]", "evaluate.tta=[]")
    command = ["train", str(CONFIGS / "quickstart.yaml"), *words, "--trials", "2", "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", WITHOUT_UNIX, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = tmp_path.iterdir()
    lines = (run / "trials.jsonl").read_bytes()
    assert b"\r" not in lines
    assert [json.loads(line)["status"] for line in lines.splitlines()] == ["finished", "finished"]
    assert read_run(run).problems == ()
