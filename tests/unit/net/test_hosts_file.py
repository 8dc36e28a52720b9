from __future__ import annotations

from pathlib import Path

from vrata.net.cached_name import Family
from vrata.net.hosts_file import HostsFile, parse

V6, V4 = Family.V6, Family.V4


def test_names_have_all_addresses_of_their_lines() -> None:
    names = parse(
        """
        # a comment
        192.0.2.1  one.test ONE alias  # and another
        2001:DB8::1\tone.test
        192.0.2.2 one.test one.test
        fe80::1%eth0 one.test
        not-an-address two.test
        192.0.2.3
        """
    )
    assert names == {
        "one.test": {V4: ("192.0.2.1", "192.0.2.2"), V6: ("2001:db8::1",)},
        "one": {V4: ("192.0.2.1",)},
        "alias": {V4: ("192.0.2.1",)},
    }


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    hosts = HostsFile(path)
    assert hosts.addresses("one.test") is None
    path.write_text("192.0.2.1 one.test")
    assert hosts.addresses("One.Test.") == {V4: ("192.0.2.1",)}
    path.write_text("192.0.2.22 one.test")
    assert hosts.addresses("one.test") == {V4: ("192.0.2.22",)}
    path.unlink()
    assert hosts.addresses("one.test") is None


def test_localhost_is_this_machine_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    hosts = HostsFile(path)
    both = {V6: ("::1",), V4: ("127.0.0.1",)}
    assert hosts.addresses("localhost") == both
    assert hosts.addresses("below.localhost.") == both
    path.write_text("127.0.0.1 localhost")
    assert hosts.addresses("localhost") == {V4: ("127.0.0.1",)}
