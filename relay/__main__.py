"""The command `relay`, and `python -m relay`.

To import the rest takes most of the start. A Ctrl-C in that time ends the process by the signal itself, as it ends a
program that knows nothing of signals; Python's own handler would raise KeyboardInterrupt within some import, and show
its traceback. Commands that have something to put away handle the signal themselves from then on.

Not covered is the time from the moment when Python installs its handler to `main`: some 20 ms, in which it imports
`site`, what the installed script imports, and this package's `__init__`.
"""

import signal


def main() -> None:
    """Run the command line and exit."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it is not ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from relay.cli.main import main as run  # noqa: PLC0415

    run()


if __name__ == "__main__":
    main()
