"""A page of documentation as its reader follows it: write the files, run the commands, compare the output.

    **NAME** and a block below it      a file of that name, in the shell's current directory
    a block in `sh`                    commands, in one shell for the whole page; each must end well
    a block in `text` behind that      what they print, on stdout and stderr; `...` stands for anything

There is no other block on such a page.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^\*\*(?P<name>[^*\n]+)\*\*\n\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_MARK = "== block {} =="


@dataclass
class Block:
    """A block of code, and what it is for."""

    language: str
    text: str
    name: str = ""
    """Of a file."""
    output: str | None = None
    """Of commands, if the page shows it."""


def blocks_of(text: str) -> list[Block]:
    """The blocks of a page, in order."""
    blocks: list[Block] = []
    for found in _BLOCK.finditer(text):
        block = Block(found["language"], found["text"], found["name"] or "")
        if block.language == "text":
            assert blocks[-1].language == "sh", f"no command prints this:\n{block.text}"
            blocks[-1].output = block.text
        else:
            blocks.append(block)
    return blocks


def follow(text: str, directory: Path, env: dict[str, str], *, timeout_s: float) -> None:
    """Do what the page says, in this directory, and insist that it comes out as the page says."""
    blocks = blocks_of(text)
    script = "set -e\n" + "".join(f"echo {shlex.quote(_MARK.format(n))}\n{_commands(b)}" for n, b in enumerate(blocks))
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=directory,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            output.seek(0)
            raise AssertionError(f"the page takes more than {timeout_s:g} s; so far:\n{output.read()}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what the page has left running
            process.wait()
        output.seek(0)
        told = output.read()
    assert process.returncode == 0, f"a command ended with {process.returncode}:\n{told}"
    for number, block in enumerate(blocks):
        came_out = told.partition(_MARK.format(number) + "\n")[2].partition(_MARK.format(number + 1) + "\n")[0]
        if block.output is not None:
            assert agrees(block.output, came_out), f"the page says\n{block.output}\nand out came\n{came_out}"


def agrees(expected: str, came_out: str) -> bool:
    """Whether a text is as expected, where `...` stands for anything."""
    return re.fullmatch(re.escape(expected).replace(r"\.\.\.", ".*"), came_out, re.DOTALL) is not None


def _commands(block: Block) -> str:
    if block.language == "sh":
        return block.text
    assert block.name, f"neither a file nor a command:\n{block.text}"
    return f"cat > {shlex.quote(block.name)} <<'END OF FILE'\n{block.text}END OF FILE\n"
