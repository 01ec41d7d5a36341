"""DNS messages over TCP, however the bytes come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.wire.dns.stream import Messages, framed


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 50))
def test_messages_are_put_together_from_pieces_of_any_size(sent: list[bytes], size: int) -> None:
    data = b"".join(map(framed, sent))
    messages, got = Messages(), []
    for at in range(0, len(data), size):
        messages.receive_data(data[at : at + size])
        while (message := messages.next_message()) is not None:
            got.append(message)
    assert got == sent
    assert messages.next_message() is None


def test_a_message_may_be_as_long_as_its_length_can_say() -> None:
    messages = Messages()
    messages.receive_data(framed(b"x" * 0xFFFF)[:-1])
    assert messages.next_message() is None
    messages.receive_data(memoryview(b"x"))
    assert messages.next_message() == b"x" * 0xFFFF
