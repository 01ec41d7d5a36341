"""Which NAT a test gets: by its markers, the command line, the ini file, in this order."""

from __future__ import annotations

import pytest

from plugin.conftest import Suite, outcomes

pytest_plugins = "pytester"

CONFTEST = """
    import pytest

    @pytest.fixture
    def told(nat_relay):
        started, = nat_relay.events
        return started.fields

    @pytest.fixture
    def mask(nat_relay):
        quirks = {quirk.name: quirk for quirk in nat_relay.profile.quirks}
        return quirks["tos-reset"].settings["mask"]
"""


@pytest.mark.parametrize(
    ("arguments", "ini", "profile"),
    [
        ((), "", "vmware-fusion-11"),
        ((), "nat_profile = vmware-workstation", "vmware-workstation-14"),
        (("--nat-profile", "transparent"), "nat_profile = vmware-workstation", "transparent"),
    ],
    ids=["neither", "ini", "command line"],
)
def test_a_test_that_names_none_gets_the_command_lines_or_the_inis(
    suite: Suite, arguments: tuple[str, ...], ini: str, profile: str
) -> None:
    source = f"""
        def test_one(told):
            assert told["profile"] == {profile!r}

        def test_factory(nat_relay_factory):
            assert nat_relay_factory().profile.name == {profile!r}

        def test_session(nat_relay_session):
            assert nat_relay_session.profile.name == {profile!r}

        @pytest.mark.nat_relay("vmware-workstation-16")
        def test_marked(told):
            assert told["profile"] == "vmware-workstation-16"
    """
    suite(source, *arguments, ini=ini, conftest=CONFTEST).assert_outcomes(passed=4)


def test_a_list_of_profiles_runs_the_test_with_each_and_names_it_so(suite: Suite) -> None:
    source = """
        @pytest.mark.nat_relay(["vmware-fusion", "transparent"])
        def test_several(told):
            pass

        @pytest.mark.nat_relay([pytest.param("transparent", id="control"), "vmware-workstation"])
        @pytest.mark.parametrize("number", [1, 2])
        def test_crossed(told, number):
            assert told["profile"] in {"transparent", "vmware-workstation-14"}
    """
    assert outcomes(suite(source, conftest=CONFTEST)) == {
        "test_several[vmware-fusion]": "passed",
        "test_several[transparent]": "passed",
        "test_crossed[control-1]": "passed",
        "test_crossed[vmware-workstation-1]": "passed",
        "test_crossed[control-2]": "passed",
        "test_crossed[vmware-workstation-2]": "passed",
    }


def test_markers_are_laid_one_over_the_other(suite: Suite) -> None:
    source = """
        pytestmark = pytest.mark.nat_relay(time_scale=10, tos_reset={"mask": 0xFC, "external_close_delay_ms": 1})

        def settings(nat_relay):
            return {quirk.name: dict(quirk.settings) for quirk in nat_relay.profile.quirks}["tos-reset"]

        def test_module(nat_relay):
            assert settings(nat_relay) == {"mask": 0xFC, "external_close_delay_ms": 1}
            assert nat_relay.time_scale == 10

        @pytest.mark.nat_relay(tos_reset={"mask": 0xFF})
        @pytest.mark.nat_relay(backend="trio")
        def test_setting_by_setting(nat_relay):
            assert settings(nat_relay) == {"mask": 0xFF, "external_close_delay_ms": 1}
            assert nat_relay.time_scale == 10

        @pytest.mark.nat_relay(time_scale=100)
        class TestClass:
            def test_option_by_option(self, nat_relay):
                assert nat_relay.time_scale == 100
                assert settings(nat_relay)["mask"] == 0xFC

            @pytest.mark.nat_relay(profile="vmware-workstation", time_scale=2)
            def test_settings_belong_to_the_profile_beside_them(self, nat_relay):
                assert settings(nat_relay)["mask"] == 0xE0
                assert nat_relay.time_scale == 2

            @pytest.mark.nat_relay(tos_reset={"mask": 0x20})
            @pytest.mark.nat_relay("vmware-workstation")
            def test_on_one_function_they_stack_in_any_order(self, nat_relay):
                assert settings(nat_relay)["mask"] == 0x20

        @pytest.mark.nat_relay("transparent", tos_reset={})
        def test_a_behaviour_without_settings_is_there(nat_relay):
            assert settings(nat_relay)["mask"] == 0xE0

        @pytest.mark.nat_relay("vmware-fusion", tos_reset={"enabled": False})
        def test_a_behaviour_is_taken_out(nat_relay):
            assert "tos-reset" not in {quirk.name for quirk in nat_relay.profile.quirks}
    """
    suite(source).assert_outcomes(passed=7)


def test_the_factory_applies_no_marker_and_takes_what_a_marker_takes(suite: Suite) -> None:
    source = """
        from relay import load_profile

        @pytest.mark.nat_relay("transparent", time_scale=5)
        def test_several(nat_relay, nat_relay_factory):
            plain = nat_relay_factory()
            told = nat_relay_factory("vmware-workstation", time_scale=7, backend="trio", tos_reset={"mask": 1})
            loaded = nat_relay_factory(load_profile("transparent"), tos_reset={"mask": 1})
            proxyless = nat_relay_factory(listen=None, forwards=["0:127.0.0.1:9"])
            assert [nat.profile.name for nat in (nat_relay, plain, told, loaded)] == [
                "transparent", "vmware-fusion-11", "vmware-workstation-14", "transparent"
            ]
            assert [nat.time_scale for nat in (nat_relay, plain, told)] == [5, 1, 7]
            assert loaded.profile.tos_mask == 1
            assert len(proxyless.forward_addresses) == 1
            assert len({nat.address for nat in (nat_relay, plain, told, loaded)}) == 4
    """
    suite(source).assert_outcomes(passed=1)


def test_a_profile_of_ones_own_is_found_wherever_pytest_is_started(
    suite: Suite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
        def test_by_default(nat_relay):
            assert nat_relay.profile.title == {title!r}

        @pytest.mark.nat_relay("nats/mine.toml")
        def test_marked(nat_relay):
            assert nat_relay.profile.title == "In the project"
    """
    nats = pytester.mkdir("nats")
    (nats / "mine.toml").write_text('title = "In the project"\n')
    (nats / "other.toml").write_text('title = "In the folder"\n')
    monkeypatch.chdir(nats)
    from_afar = ("-c", "../pytest.ini", str(pytester.path / "test_it.py"))
    in_project, in_folder = (source.format(title=title) for title in ("In the project", "In the folder"))
    suite(in_project, *from_afar, ini="nat_profile = nats/mine.toml").assert_outcomes(passed=2)
    suite(in_folder, *from_afar, "--nat-profile", "./other.toml").assert_outcomes(passed=2)


def test_a_tests_own_sockets_are_watched_as_long_as_it_has_a_relay(suite: Suite) -> None:
    source = """
        import socket

        @pytest.mark.nat_relay(observer="in-process")
        def test_watched(nat_relay):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                listener.settimeout(60)
                address = nat_relay.forward(*listener.getsockname())
                with socket.create_connection(address, timeout=60) as client, listener.accept()[0] as server:
                    client.sendall(b"a")
                    assert server.recv(1) == b"a"
                    client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
                    with pytest.raises(ConnectionResetError):
                        client.sendall(b"b")
                        client.recv(1)

        def test_over():
            assert "setsockopt" not in vars(socket.socket)
    """
    suite(source).assert_outcomes(passed=2)


def test_another_fixture_may_stand_between(suite: Suite) -> None:
    source = """
        @pytest.fixture
        def client(nat_relay):
            return nat_relay.profile.name

        @pytest.mark.nat_relay(["vmware-fusion", "transparent"])
        def test_through_it(client, request):
            assert client.startswith(request.node.callspec.id)
    """
    suite(source).assert_outcomes(passed=2)
