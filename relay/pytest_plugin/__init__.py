"""The pytest plugin: a NAT between a test's client and its server.

    def test_my_client_survives(nat_relay):
        host, port = nat_relay.forward(*my_server)       # or nat_relay.socks_url, .http_url, .env
        ...
        nat_relay.wait_for("flow-ended", because="tos-reset")

The marker chooses the NAT (`marker` documents it), else `--nat-profile`, else `nat_profile` in the ini file. The relay
runs in a thread and an event loop of its own, so tests may be synchronous or run on any async library. A quirk of the
profile that this host cannot show fails the test, unless the ini file says `nat_unsupported = skip`. A failing test's
report has ladders of the relay's flows, and the command that repeats what was left to chance: all that follows from
`--nat-seed` and the test's own id, on however many workers the tests run. A fault inside the relay or a behaviour fails
the test, unless the ini file says `nat_faults = warn`. What
this host shows otherwise than the NAT does is listed at the top of the run, and in the report of a test that fails.

    entry/pytest_vmnat_relay.py    options, fixtures and hooks, which every run of pytest imports; top-level when built
    serving.py                     what the fixtures do, imported by the first one that is set up
    reporting.py, fidelity.py, faults.py    what a test's report says about its relays; registered then
    run_report.py                  --nat-report: all tests' flows in one file
"""
