"""`relay report`: the HTML file of all flows of a file of events."""

from __future__ import annotations

from pathlib import Path

from relay.cli.output_file import worded, write_whole
from relay.cli.reports.event_file import Reader, complain_of, open_records, shown_name
from relay.errors import ConfigError
from relay.ladder import Run, runs_of
from relay.ladder.packets import PacketReader
from relay.profiles import Profile, load_profile, profile_names
from relay.report import page_of, section_of

_MOST_REMARKS = 5
_OF_PACKETS = "made from packets: why a flow ended is concluded from its first FIN or RST"


def write_report(source: str, output: Path, profile: str | None) -> None:
    """Write the report of a file or, for `-`, of stdin; `profile` is what was served, if the user says so.

    Raises:
        ConfigError: it cannot be read or has no record, there is no such profile, or the report cannot be written.
    """
    told = None if profile is None else load_profile(profile)
    with open_records(source) as reader:
        runs = runs_of(reader)
    complain_of(source, reader)
    name = shown_name(source)
    sections = [
        section_of(run, f"{name}, run {number} of {len(runs)}" if len(runs) > 1 else name, told or _profile_of(run))
        for number, run in enumerate(runs, 1)
    ]
    page = page_of(sections, f"vmnat-relay: {name}", _remarks(reader))
    with worded("--output", output, accepted="name a file in a folder that there is"):
        write_whole(output, page)


def _profile_of(run: Run) -> Profile | None:
    """The shipped profile of this name. A path in a log is another host's, and not looked at."""
    if run.profile not in profile_names():
        return None
    try:
        return load_profile(run.profile)
    except ConfigError:  # a behaviour of another package has taken the name of ours
        return None


def _remarks(reader: Reader) -> list[str]:
    told = [str(problem) for problem in reader.problems[:_MOST_REMARKS]]
    if more := reader.problem_count - len(told):
        told.append(f"{more} more {reader.problems[0].unit}s are no records")
    return [_OF_PACKETS, *told] if isinstance(reader, PacketReader) else told
