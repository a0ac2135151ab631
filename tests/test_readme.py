"""Every command in the README works: make targets exist, recipes load, options are known."""

import glob
import re
import shlex
import subprocess

import pytest

from airbench.cli import build_parser
from airbench.cli.train import read_recipes
from tests.conftest import CONFIGS

ROOT = CONFIGS.parent
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    shown = [line for line in lines if line and not line.startswith(("#", "git", "cd "))]
    inline = re.findall(r"`(airbench [a-z-]+ [^`]*)`", README)  # a bare name in running text is no command
    return shown + inline


def test_readme_has_commands() -> None:
    assert {"make quickstart", "make test", "make speedrun"} <= set(commands())


@pytest.mark.parametrize("command", commands())
def test_command_of_the_readme(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = [file for word in shlex.split(command) for file in (sorted(glob.glob(word)) if "*" in word else [word])]
    while "=" in words[0]:  # settings of the environment
        words = words[1:]
    if words[0] == "make":
        done = subprocess.run(["make", "-n", *words[1:]], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif words[0] in ("python", "airbench"):
        arguments = ["train", *words[2:]] if words[:2] == ["python", "train.py"] else words[1:]
        options = build_parser().parse_args(arguments)
        if arguments[0] == "train" and "<" not in command:
            assert read_recipes(options)
    else:
        pytest.fail(f"the README has a command that no test knows: {command}")


def test_every_link_to_a_file_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", README):
        assert (ROOT / target).exists(), target
