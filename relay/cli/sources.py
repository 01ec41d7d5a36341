"""Where an option's value came from: the command line, an environment variable or the configuration file.

Whatever checks a value calls it by its option, `--listen: ...`. A user who has set RELAY_LISTEN, or `listen` in a file,
did not write that option: so the error is worded anew, with the name that the user wrote.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from relay.errors import RelayError

FILE_KEY = "relay.cli.config_file"
"""Where a context's `meta` has the configuration file's name."""
_PREFIX = "RELAY_"
_NO_OPTIONS = frozenset({"RELAY_DEBUG", "RELAY_CONTROL_TOKEN", "RELAY_PROBE_TOKEN"})
_ALIKE = 0.75  # PROFIL and PROFILE; not TOKEN and SOURCE, for other programs may have variables of this prefix
_NAMED_OPTION = re.compile(r"(--[a-z-]+|profile)(?=[: ])")


@contextmanager
def named_by_source(context: Any) -> Iterator[None]:
    """Have an error of the block name the variable, or the file and key, that the value came from.

    Raises:
        RelayError: of the same kind.
    """
    try:
        yield
    except RelayError as error:
        named = _NAMED_OPTION.match(str(error))
        option = f"--{named[1].removeprefix('--')}" if named is not None else ""
        parameter = next((each for each in context.command.params if option in each.opts), None)
        if named is not None and parameter is None and named[1] == "profile":
            raise type(error)(str(error).removeprefix("profile: "), hint=error.hint) from error.__cause__
        if named is None or parameter is None:
            raise
        name = _name_of(context, parameter, option)
        raise type(error)(f"{name}{str(error)[named.end() :]}", hint=error.hint) from error.__cause__


def _name_of(context: Any, parameter: Any, option: str) -> str:
    source = getattr(context.get_parameter_source(parameter.name), "name", "")
    if source == "ENVIRONMENT":
        return str(parameter.envvar)
    if source == "DEFAULT_MAP":
        return f"{context.meta[FILE_KEY]}: {option.removeprefix('--')}"
    return option


def misspelt_variables(commands: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Variables of the environment that set nothing, each with the one that was probably meant."""
    known = {str(parameter.envvar) for command in commands for parameter in command.params if parameter.envvar}
    suffixes = {name.removeprefix(_PREFIX): name for name in known}
    for name in sorted(os.environ):
        if name.startswith(_PREFIX) and name not in known | _NO_OPTIONS:
            close = difflib.get_close_matches(name.removeprefix(_PREFIX), suffixes, n=1, cutoff=_ALIKE)
            if close:
                yield name, suffixes[close[0]]
