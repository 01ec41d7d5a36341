"""What follows a page of documentation notices when the page is wrong."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from support.capabilities import need_program
from support.page import agrees, blocks_of, follow

PAGE = """
# A page

```sh
mkdir inner && cd inner
```

Text.

**a name.txt**

```toml
key = '$HOME'
```

```sh
cat 'a name.txt'
echo told >&2
```

```text
key = '$HOME'
t...d
```
"""


def followed(text: str, directory: Path, *, timeout_s: float = 30.0) -> None:
    need_program("bash")
    follow(text, directory, dict(os.environ), timeout_s=timeout_s)


@pytest.mark.system
def test_a_page_that_is_right_passes_and_leaves_its_files_as_they_stand(tmp_path: Path) -> None:
    followed(PAGE, tmp_path)
    assert (tmp_path / "inner" / "a name.txt").read_text() == "key = '$HOME'\n"


@pytest.mark.system
@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("t...d\n", "t...e\n", "the page says"),
        ("t...d\n", "", "the page says"),
        ("echo told >&2", "false", "a command ended with 1"),
        ("**a name.txt**\n\n", "", "neither a file nor a command"),
        ("```sh\ncat 'a name.txt'\necho told >&2\n```\n\n", "", "no command prints this"),
    ],
)
def test_a_page_that_is_wrong_fails(right: str, wrong: str, told: str, tmp_path: Path) -> None:
    assert PAGE.count(right) == 1
    with pytest.raises(AssertionError, match=told):
        followed(PAGE.replace(right, wrong), tmp_path)


@pytest.mark.system
@pytest.mark.parametrize(("then", "told"), [("true", None), ("false", "ended with 1"), ("wait", "takes more than 1 s")])
def test_what_a_page_starts_ends_with_it(then: str, told: str | None, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "held")
    reader = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    try:
        page = f"```sh\nexec 9> held\nsleep 100 &\n{then}\n```\n"
        if told is None:
            followed(page, tmp_path)
        else:
            with pytest.raises(AssertionError, match=told):
                followed(page, tmp_path, timeout_s=1.0 if then == "wait" else 30.0)
        readable, _, _ = select.select([reader], [], [], 10)
        assert readable, "sleep still runs: it holds the FIFO open"
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


SERVED = """
<!-- until Ctrl-C -->
```sh
trap 'echo stopped' INT
echo it serves
sleep 100 || true
```

```text
it serves
...
```

```sh
echo goes on
```

```text
goes on
```
"""


@pytest.mark.system
def test_what_goes_on_until_ctrl_c_is_stopped_after_its_last_line_of_output(tmp_path: Path) -> None:
    followed(SERVED, tmp_path)
    with pytest.raises(AssertionError, match="takes more than 1 s"):
        followed(SERVED.replace("<!-- until Ctrl-C -->\n", ""), tmp_path, timeout_s=1)
    with pytest.raises(AssertionError, match=r"ended with|the page says"):
        followed(SERVED.replace("it serves\nsleep", "no\nfalse"), tmp_path)


@pytest.mark.system
def test_a_block_that_is_not_run_says_so_right_above_it(tmp_path: Path) -> None:
    page = "<!-- not run: it fails -->\n```sh\nfalse\n```\n\n```powershell\nfalse\n```\n"
    assert [block.not_run for block in blocks_of(page)] == ["it fails"]
    followed(page, tmp_path)
    with pytest.raises(AssertionError, match="ended with 1"):
        followed(page.replace("-->\n", "-->\n\n"), tmp_path)


def test_numbers_vary_where_the_page_says_so() -> None:
    assert agrees("after 0.25 s: 3\n", "after 1.5 s: 17\n", numbers_vary=True)
    assert not agrees("after 0.25 s: 3\n", "after 1.5 s: many\n", numbers_vary=True)
    assert not agrees("after 0.25 s: 3\n", "after 1.5 s: 17\n")


def test_three_dots_stand_for_anything_and_nothing_else_does() -> None:
    assert agrees("a ... c\n...\n", "a b c\nd\ne\n")
    assert not agrees("a.c\n", "abc\n")
    assert not agrees("a\n", "a\nb\n")


def test_only_a_line_right_above_a_block_names_a_file() -> None:
    assert [block.name for block in blocks_of("**bold** text\n\n```sh\nls\n```\n")] == [""]
