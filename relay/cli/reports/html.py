"""`relay report`: the HTML file of all flows of a file of events."""

from __future__ import annotations

from pathlib import Path

from relay.cli.output_file import worded, write_whole
from relay.cli.reports.event_file import complain_of, open_events, shown_name
from relay.errors import ConfigError
from relay.ladder import Run, runs_of
from relay.log.reading import RecordReader
from relay.profiles import Profile, load_profile, profile_names
from relay.report import page_of, section_of

_MOST_REMARKS = 5


def write_report(source: str, output: Path) -> None:
    """Write the report of a file or, for `-`, of stdin.

    Raises:
        ConfigError: it cannot be read or has no record, or the report cannot be written.
    """
    with open_events(source) as stream:
        reader = RecordReader(stream)
        runs = runs_of(reader)
    complain_of(source, reader)
    name = shown_name(source)
    sections = [
        section_of(run, f"{name}, run {number} of {len(runs)}" if len(runs) > 1 else name, _profile_of(run))
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


def _remarks(reader: RecordReader) -> list[str]:
    told = [str(problem) for problem in reader.problems[:_MOST_REMARKS]]
    if more := reader.problem_count - len(told):
        told.append(f"{more} more lines are no records")
    return told
