"""A page of documentation as its reader follows it: write the files, run the commands, compare the output.

    **NAME** and a block below it      a file of that name, in the shell's current directory
    a block in `sh`                    commands, in one shell for the whole page; each must end well
    a block in `text` behind that      what they print, on stdout and stderr; `...` stands for anything
    a block in `powershell`            the same commands for Windows, which are not run

There is no other block on such a page. A comment in the line right above a block changes what is done with it:

    <!-- until Ctrl-C -->              the commands go on until stopped, here after the last line of their output
    <!-- numbers vary -->              a number in this output stands for any number
    <!-- not run: REASON -->           neither the block nor its output is looked at
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"^(?:<!-- (?P<remark>[^>\n]+) -->\n)?(?:\*\*(?P<name>[^*\n]+)\*\*\n\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_MARK = "== block {} =="
_JOB = "stopped by Ctrl-C"


@dataclass
class Block:
    """A block of code, and what it is for."""

    language: str
    text: str
    name: str = ""
    """Of a file."""
    output: str | None = None
    """Of commands, if the page shows it."""
    until_stopped: bool = False
    numbers_vary: bool = False
    """In the output."""
    not_run: str = ""
    """Why this block is left out."""


def blocks_of(text: str) -> list[Block]:
    """The blocks of a page, in order, but for those that are for another system."""
    blocks: list[Block] = []
    for found in _BLOCK.finditer(text):
        remark = found["remark"] or ""
        block = Block(found["language"], found["text"], found["name"] or "")
        if block.language == "text":
            assert blocks, f"no command prints this:\n{block.text}"
            assert blocks[-1].language == "sh", f"no command prints this:\n{block.text}"
            blocks[-1].output = block.text
            blocks[-1].numbers_vary = remark == "numbers vary"
        elif block.language != "powershell":
            block.until_stopped = remark == "until Ctrl-C"
            block.not_run = remark.removeprefix("not run: ") if remark.startswith("not run: ") else ""
            blocks.append(block)
    return blocks


def follow(text: str, directory: Path, env: dict[str, str], *, timeout_s: float, prefix: Sequence[str] = ()) -> None:
    """Do what the page says, in this directory, and insist that it comes out as the page says.

    `prefix` is a command that runs another, here the reader's shell.
    """
    blocks = [block for block in blocks_of(text) if not block.not_run]
    with tempfile.TemporaryDirectory() as aside, tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        job = Path(aside) / _JOB
        script = "set -e\n" + "".join(
            f"echo {shlex.quote(_MARK.format(number))}\n{_commands(block, job)}" for number, block in enumerate(blocks)
        )
        process = subprocess.Popen(
            [*prefix, "bash", "-c", script],
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
            groups = [process.pid, *(int(line) for line in (job.read_text().split() if job.exists() else ()))]
            for group in groups:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)  # what the page has left running
            process.wait()
        output.seek(0)
        told = output.read()
    assert process.returncode == 0, f"a command ended with {process.returncode}:\n{told}"
    for number, block in enumerate(blocks):
        came_out = told.partition(_MARK.format(number) + "\n")[2].partition(_MARK.format(number + 1) + "\n")[0]
        if block.output is not None:
            assert agrees(block.output, came_out, numbers_vary=block.numbers_vary), (
                f"the page says\n{block.output}\nand out came\n{came_out}"
            )


def agrees(expected: str, came_out: str, *, numbers_vary: bool = False) -> bool:
    """Whether a text is as expected, where `...` stands for anything."""
    pattern = re.escape(expected).replace(r"\.\.\.", ".*")
    if numbers_vary:
        pattern = re.sub(r"\d+", r"\\d+", pattern)
    return re.fullmatch(pattern, came_out, re.DOTALL) is not None


def _commands(block: Block, job: Path) -> str:
    if block.language == "sh":
        return _until_stopped(block, job) if block.until_stopped else block.text
    assert block.name, f"neither a file nor a command:\n{block.text}"
    return f"cat > {shlex.quote(block.name)} <<'END OF FILE'\n{block.text}END OF FILE\n"


def _until_stopped(block: Block, job: Path) -> str:
    """The commands in a process group of their own, as in a terminal's foreground, and Ctrl-C for all of it."""
    assert block.output is not None, f"when is this stopped? Its output tells:\n{block.text}"
    last = [line for line in block.output.splitlines() if "..." not in line][-1]
    output = shlex.quote(f"{job}.out")
    return (
        f"set -m\n(\n{block.text}) > {output} 2>&1 &\nset +m\n"
        f"echo $! >> {shlex.quote(str(job))}\n"
        f"until grep -sqF -- {shlex.quote(last)} {output}; do kill -0 $! || break; sleep 0.1; done\n"
        f"kill -INT -- -$!\nwait $!\ncat {output}\n"
    )
