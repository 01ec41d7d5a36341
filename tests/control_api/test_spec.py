"""What `--control` and the options beside it say."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.address import Endpoint
from relay.control_api import ControlSpec, control_spec
from relay.errors import ConfigError

_TOKEN = "0123456789abcdef"
_WHAT = "one line of 16 or more ASCII characters, no spaces"


def test_what_is_given_is_kept(tmp_path: Path) -> None:
    bind = Endpoint("127.0.0.1", 1)
    assert control_spec("127.0.0.1:1") == ControlSpec(
        bind=bind, token="", beyond_loopback=False, hosts=(), proxies=None
    )
    assert control_spec("127.0.0.1:1", token=_TOKEN, hosts=["a", "b"], proxies=b"[]") == ControlSpec(
        bind=bind, token=_TOKEN, beyond_loopback=False, hosts=("a", "b"), proxies=b"[]"
    )
    file = tmp_path / "token"
    for content in (_TOKEN, f"{_TOKEN}\n", f"{_TOKEN}\r\n"):
        file.write_bytes(content.encode())
        spec = control_spec("0.0.0.0:1", token="of the environment", token_file=file)
        assert (spec.token, spec.beyond_loopback) == (_TOKEN, False)
    assert control_spec("[::]:1", allow_open=True).beyond_loopback
    file.write_bytes(b"a" * 5000)
    assert len(control_spec("127.0.0.1:1", token_file=file).token) == 4096, "no more is read of a file"


@pytest.mark.parametrize("token", [_TOKEN[1:], _TOKEN + " ", _TOKEN + "ö", _TOKEN + "\x7f"])
def test_a_token_that_is_none_names_where_it_was_given(token: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        control_spec("127.0.0.1:1", token=token)
    assert (str(raised.value), raised.value.hint) == ("RELAY_CONTROL_TOKEN: no token", _WHAT)
    file = tmp_path / "token"
    file.write_text(token, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        control_spec("127.0.0.1:1", token_file=file)
    assert (str(raised.value), raised.value.hint) == (f"--control-token-file: {file}: no token", _WHAT)


def test_each_mistake_has_its_hint(tmp_path: Path) -> None:
    for text, said, hint in (
        ("unix:", "--control: 'unix:' names no socket", "e.g. unix:/run/relay.sock"),
        (
            "0.0.0.0:1",
            "--control: listening on 0.0.0.0:1 without a token",
            "add --control-token-file FILE, or --allow-open to let every client steer the relay",
        ),
    ):
        with pytest.raises(ConfigError) as raised:
            control_spec(text)
        assert (str(raised.value), raised.value.hint) == (said, hint)
    none = tmp_path / "none"
    with pytest.raises(ConfigError) as raised:
        control_spec("127.0.0.1:1", token_file=none)
    said = f"--control-token-file: cannot read {none}: No such file or directory"
    assert (str(raised.value), raised.value.hint) == (said, "name a file whose one line is the token")
    with pytest.raises(ConfigError, match="--control: cannot read 'nowhere'"):
        control_spec("nowhere")
