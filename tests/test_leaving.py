"""What is raised inside a relay's block leaves it as it was: nothing wraps it."""

from __future__ import annotations

import anyio
import pytest

from relay.config import configure
from relay.server import open_relay
from relay.testing import serve_in_thread

RAISED = (KeyboardInterrupt(), SystemExit(3), pytest.skip.Exception("a test's own"), ValueError("an app's own"))


@pytest.mark.parametrize("raised", RAISED, ids=lambda raised: type(raised).__name__)
def test_leaving_a_relay_in_a_thread_wraps_nothing(backend: str, raised: BaseException) -> None:
    with pytest.raises(type(raised)) as seen, serve_in_thread(backend=backend):
        raise raised
    assert seen.value is raised


@pytest.mark.parametrize("raised", RAISED[2:], ids=lambda raised: type(raised).__name__)
@pytest.mark.anyio
async def test_leaving_a_relay_in_ones_own_loop_wraps_nothing(raised: BaseException) -> None:
    with pytest.raises(type(raised)) as seen:
        async with open_relay(configure(listen="127.0.0.1:0")):
            raise raised
    assert seen.value is raised


@pytest.mark.anyio
async def test_a_block_that_is_cancelled_ends_as_cancelled() -> None:
    with anyio.move_on_after(0.05) as scope:
        async with open_relay(configure(listen="127.0.0.1:0")):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
