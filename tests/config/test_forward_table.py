"""`[[forward]]` tables: what they become, and what is wrong in them."""

from __future__ import annotations

import tomllib

import pytest

from relay.address import ANYWHERE, Endpoint, ForwardSpec, parse_forward
from relay.config import configure
from relay.config.forward_table import forward_text, mistakes_in_forward
from relay.errors import ConfigError


def read(text: str) -> ForwardSpec:
    return parse_forward(forward_text(tomllib.loads(text), where="f.toml: forward 1"), where="--forward")


def test_a_table_becomes_a_forward_with_settings() -> None:
    text = """
    listen = 16379
    target = "[2001:db8::1]:6379"
    latency.delay_s = 0.1
    latency.direction = "to-app"
    latency.when = { nth = 2, process = "Google Chrome", host = ["a", "*.b"] }
    limit-time = { after_s = 3 }
    tos-reset = {}
    local-ack.enabled = false
    """
    assert read(text) == ForwardSpec(
        Endpoint("127.0.0.1", 16379),
        Endpoint("2001:db8::1", 6379),
        (
            "latency.delay_s=0.1",
            "latency.direction=to-app",
            "latency.when.host=a,*.b",
            "latency.when.process=Google Chrome",
            "latency.when.nth=2",
            "lifetime-limit.after_s=3.0",
            "tos-reset.enabled=true",
            "local-ack.enabled=false",
        ),
    )


def test_it_may_lead_anywhere_behind_a_profile_of_its_own() -> None:
    spec = read('listen = 1\ntarget = "any://"\nlatency = { delay_s = 1 }\nprofile = "slirp"')
    assert (spec.target, spec.settings) == (ANYWHERE, ("profile=slirp", "latency.delay_s=1.0"))


def test_it_listens_where_it_says() -> None:
    assert read('listen = "[::1]:80"\ntarget = "h:1"').bind == Endpoint("::1", 80)


@pytest.mark.parametrize(
    ("text", "says", "hints"),
    [
        ("", "no listen", "give both"),
        ("listen = 1", "no target", "give both"),
        ("listen = 1.5\ntarget = 'h:1'", "listen: 1.5 is not a port, or a string", "HOST:PORT"),
        ("listen = 65536\ntarget = 'h:1'", "listen: '65536' is not a port", "0 to 65535"),
        ("listen = 1\ntarget = 6379", "target: 6379 is not a string", "HOST:PORT"),
        ("listen = 1\ntarget = 'h'", "target: cannot read 'h'", "HOST:PORT"),
        ("listen = 1\ntarget = 'anny://'", "target: cannot read 'anny://'", "HOST:PORT"),
        ("listen = 1\ntarget = 'h:0'", "target: nothing can listen on port 0", "the server's port"),
        ("listen = 1\ntarget = 'h:1'\nprofile = 1", "profile: 1 is not a string", "a profile's name"),
        ("listen = 1\ntarget = 'h:1'\nprofile = 'slrp'", "profile: unknown profile 'slrp'", "did you mean slirp or "),
        ("listen = 1\ntarget = 'h:1'\nlatncy = {}", "unknown key or behaviour 'latncy'", "did you mean latency?"),
        ("listen = 1\ntarget = 'h:1'\nlatency = 1", "latency is not a table", "write [latency]"),
        ("listen = 1\ntarget = 'h:1'\nlatency.delay_s = '1'", "latency.delay_s: '1' is not a number", "delay_s: "),
        ("listen = 1\ntarget = 'h:1'\nlatency.when.nht = 1", "latency.when.nht: when has no setting", "nth?"),
        ("listen = 1\ntarget = 'h:1'\nlatency.status = 'assumed'", "latency.status: not here", "in a profile"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str, hints: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value).startswith(f"f.toml: forward 1: {says}")
    assert hints in caught.value.hint
    found = list(mistakes_in_forward(tomllib.loads(text), where="f.toml: forward 1"))
    assert str(caught.value) in [str(each.error) for each in found]


def test_all_that_is_wrong_is_found_each_by_its_key() -> None:
    table = tomllib.loads(
        "listen = 70000\nlatency = { dely_s = 1, delay_s = 'x', direction = 'both' }\ncut = {}\nlatncy = 1"
    )
    found = list(mistakes_in_forward(table, where="x"))
    assert [each.path for each in found] == [
        ("listen",),
        (),
        ("latency", "dely_s"),
        ("latency", "delay_s"),
        ("latncy",),
    ]


def test_settings_of_a_forward_are_laid_over_the_relays() -> None:
    config = configure("transparent", forwards=["0:127.0.0.1:9 latency.delay_s=2 cut.at_request=1"], listen=None)
    assert config.forwards[0].settings == ("latency.delay_s=2", "cut.at_request=1")
    for text, says in (
        ("0:h:1 latency.delay_s=x", "--forward 0:h:1 latency.delay_s=x: latency.delay_s=x: 'x' is not a number"),
        ("0:any:// cut.how=fin", "--forward 0:any:// cut.how=fin: transparent: cut: nothing says when it cuts"),
        ("0:h:1 cut.how=fin", "--forward 0:h:1 cut.how=fin: transparent: cut: nothing says when it cuts"),
        ("0:h:1 stack.mss=1000", "--forward 0:h:1 stack.mss=1000: the stack is not a forward's own"),
        ("0:h:1 latency", "--forward: cannot read '0:h:1 latency'"),
        ("0:h:1 'latency", '--forward: cannot read "0:h:1 \'latency": No closing quotation'),
    ):
        with pytest.raises(ConfigError) as caught:
            configure("transparent", forwards=[text], listen=None)
        assert str(caught.value).startswith(says)
