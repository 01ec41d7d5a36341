"""Profiles: which behaviours a NAT has, how they are set, and on what evidence.

A profile is a TOML file: those shipped lie beside this module, a user's own works by its path.

    title = "VMware Fusion 11 on macOS (vmnet-natd)"
    era = "2018-2019"
    aliases = ["vmware-fusion"]
    extends = "transparent"           # this is also what a file without the line extends; "" is nothing
    symptom = "what an app sees"      # with `reproduce` and `remedy`, for `relay explain` and the docs

    [tos-reset]                       # a behaviour's name, then its settings
    external_close_delay_ms = 105
    status = "observed"               # observed, documented, reported or assumed
    [[tos-reset.evidence]]
    source = "https://..."
    says = "in our own words"
    versions = "Fusion 11, macOS 10.14"

    [link-down-reset]
    enabled = false                   # the base has it, this NAT has not

A profile states what differs from its base. A behaviour that both name keeps the base's settings where the profile is
silent. It keeps the base's status and evidence only if nothing about it changed: what was seen with other settings is
no evidence for these. Settings given on the command line are laid over the whole in the same way.

Everything is checked when a profile is loaded, behaviours of other packages included; nothing is while a flow runs.
"""

from __future__ import annotations

from relay.profiles._columns import COLUMNS, columns_of
from relay.profiles._described import Setting, describe_settings
from relay.profiles._entries import Source
from relay.profiles._files import nearest_profiles, profile_names, read_tables
from relay.profiles._load import (
    add_behaviours,
    adjust_profile,
    available,
    forward_profile,
    load_profile,
)
from relay.profiles._mistakes import Mistake, mistakes_in_behaviour, mistakes_in_profile
from relay.profiles._profile import STATUSES, Evidence, Profile, Quirk, StackSettings, expires_after_s
from relay.profiles._spelt import spelt

__all__ = [
    "COLUMNS",
    "STATUSES",
    "Evidence",
    "Mistake",
    "Profile",
    "Quirk",
    "Setting",
    "Source",
    "StackSettings",
    "add_behaviours",
    "adjust_profile",
    "available",
    "columns_of",
    "describe_settings",
    "expires_after_s",
    "forward_profile",
    "load_profile",
    "mistakes_in_behaviour",
    "mistakes_in_profile",
    "nearest_profiles",
    "profile_names",
    "read_tables",
    "spelt",
]
