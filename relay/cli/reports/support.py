"""What this host gives for one thing, as data."""

from __future__ import annotations

from relay.observe import Support


def support_as_json(support: Support) -> dict[str, object]:
    """`remedy` is null where nothing would make it better."""
    return {
        "fidelity": support.fidelity.value,
        "provider": support.provider,
        "how": support.how,
        "remedy": support.remedy or None,
    }
