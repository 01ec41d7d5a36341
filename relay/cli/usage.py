"""How a command line that cannot be parsed is reported: what is wrong with it, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Callable

_Worded = tuple[str, str]
_FORMS: tuple[tuple[str, Callable[[re.Match[str]], _Worded]], ...] = (
    (r"No such command '(.*?)'\.?(?: Did you mean '(.*?)')?", lambda m: (f"unknown command {m[1]!r}", _meant(m[2]))),
    (r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", lambda m: (f"unexpected argument {m[1]!r}", "")),
    (r"Option '?(-.*?)'? requires an argument", lambda m: (f"{m[1]} needs a value", "")),
    (r"Option '?(-.*?)'? does not take a value", lambda m: (f"{m[1]} takes no value", "")),
    (r"Missing argument '(.*?)'", lambda m: (f"missing argument {m[1]}", "")),
    (r"Missing option '(-.*?)'(?: / '(-.*?)')?", lambda m: (f"missing option {m[2] or m[1]}", "")),
)
"""The parser's own messages, in whichever version, and ours."""


def word_usage(fault: Exception, command: str) -> tuple[str, str]:
    """A message and a hint for an error of the parser's; `command` is what was called, with its command's name."""
    see = f"see `{command} --help`"
    told = str(fault.format_message()).replace("\n", " ")  # type: ignore[attr-defined]
    if (option := getattr(fault, "option_name", None)) and told.startswith("No such option"):
        near = list(getattr(fault, "possibilities", None) or ())
        return f"unknown option {option}", f"{_behind_a_command(fault, option) or _meant(*near)}{see}"
    for form, worded in _FORMS:
        if (found := re.match(form, told)) is not None:
            message, meant = worded(found)
            return message, f"{meant or _profile_meant(message, command)}{see}"
    return told, see


def _meant(*words: str | None) -> str:
    known = [word for word in words if word]
    return f"did you mean {' or '.join(known)}? " if known else ""


def _behind_a_command(fault: Exception, option: str) -> str:
    """An option of commands, in front of them; a short one may mean anything."""
    commands = getattr(getattr(getattr(fault, "ctx", None), "command", None), "commands", {})
    commands = commands if option.startswith("--") else {}
    having = [name for name, each in commands.items() if any(option in known.opts for known in each.params)]
    return f"it stands behind its command, as in relay {having[0]} {option}; " if having else ""


def _profile_meant(message: str, command: str) -> str:
    """A profile is an option of `serve` and `run`, and an argument of `explain`."""
    word = re.match(r"unexpected argument '([^ ']+)'$", message)
    if word is None or not command.endswith((" serve", " run", " profiles")):
        return ""
    from relay.profiles import profile_names

    if word[1] not in profile_names():
        return ""
    return f"did you mean {'relay explain' if command.endswith(' profiles') else '--profile'} {word[1]}? "
