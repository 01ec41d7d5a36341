"""Fuzz one target, guided by coverage, for some seconds; then keep what was found.

    python tests/fuzz/run.py TARGET SECONDS      what reached new code goes to .fuzz/TARGET/, what broke a promise
                                                 to .fuzz/TARGET-crash-...
    python tests/fuzz/run.py TARGET keep         adds to the corpus an input for each outcome that it has none of

Needs atheris (`pip install atheris`). A crash is a regression test in the making: mend the code, and put the input into
`tests/fuzz/corpus/TARGET/` under a name that says what it shows.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
_FOUND = _TESTS.parent / ".fuzz"
_INSTRUMENTED = ["relay", "h11", "tomllib"]
_LONGEST_BYTES = 12_000  # longer than a request line may be
_SLOW_S = 20


def main(argv: list[str]) -> int:
    """Do what the command line says; returns the exit code, unless the fuzzer itself ends the process."""
    sys.path[:0] = [str(_TESTS), str(_TESTS.parent)]
    if len(argv) == 3 and argv[2] == "keep":
        return _keep(argv[1])
    if len(argv) != 3 or not argv[2].isdigit():
        sys.stderr.write("run.py: give a target, and for how many seconds, or keep\n" + _hint())
        return 2
    try:
        atheris = importlib.import_module("atheris")
    except ModuleNotFoundError:
        sys.stderr.write(
            "run.py: atheris is missing\nhint: pip install atheris; without it pytest tests/fuzz still runs\n"
        )
        return 3
    with atheris.instrument_imports(include=_INSTRUMENTED):
        targets = importlib.import_module("fuzz.targets").TARGETS
    corpora = importlib.import_module("fuzz.corpora")
    target = targets.get(argv[1])
    if target is None:
        sys.stderr.write(f"run.py: there is no target {argv[1]!r}\n" + _hint())
        return 2
    found = _FOUND / target.name
    found.mkdir(parents=True, exist_ok=True)
    dictionary = _FOUND / f"{target.name}.dict"
    words = ("".join(f"\\x{byte:02x}" for byte in token) for token in target.tokens)
    dictionary.write_text("".join(f'"{word}"\n' for word in words))
    for number, token in enumerate(target.tokens):
        found.joinpath(f"token-{number}").write_bytes(token)
    options = {
        "-max_total_time": argv[2],
        "-max_len": _LONGEST_BYTES,
        "-timeout": _SLOW_S,
        "-dict": dictionary,
        "-artifact_prefix": f"{found}-",
        "-print_final_stats": 1,
    }
    kept = [str(path.parent) for path in corpora.kept(target)[:1]]
    atheris.Setup([argv[0], *(f"{name}={value}" for name, value in options.items()), str(found), *kept], target.check)
    atheris.Fuzz()
    return 0


def _keep(name: str) -> int:
    targets = importlib.import_module("fuzz.targets").TARGETS
    if name not in targets:
        sys.stderr.write(f"run.py: there is no target {name!r}\n" + _hint())
        return 2
    found = (path.read_bytes() for path in _FOUND.joinpath(name).glob("*"))
    for path in importlib.import_module("fuzz.corpora").keep(targets[name], found):
        sys.stdout.write(f"{path.relative_to(_TESTS.parent)}\n")
    return 0


def _hint() -> str:
    return f"hint: the targets: {', '.join(importlib.import_module('fuzz.targets').TARGETS)}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv))
