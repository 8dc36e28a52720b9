"""Configuration files: what they become, and what is refused with which words."""

from __future__ import annotations

import base64
import os
import socket
from pathlib import Path
from typing import get_args

import pytest

from tests.unit.model.material import material
from vrata.config import Address, ApiKey, Command, ConfigError, Pem, SessionStoreSettings, Settings, load

KEY = base64.b64encode(bytes(range(32))).decode()
OURS = material("ours")
OTHER = material("other")


def write(directory: Path, text: str) -> Path:
    path = directory / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def loaded(directory: Path, text: str, command: Command | None = None, /, **environ: str) -> Settings:
    return load(write(directory, text), environ, command)


def refused(directory: Path, text: str, command: Command | None = None, **environ: str) -> str:
    path = write(directory, text)
    with pytest.raises(ConfigError) as error:
        load(path, environ, command)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert error.value.__cause__ is None
    return message.removeprefix(f"{path}: ")


class TestDefaults:
    def check(self, settings: Settings) -> None:
        assert settings.mode == "controlplane"
        control_plane = settings.control_plane
        assert control_plane.address == Address("", 8080)
        assert control_plane.store_path == Path("/data")
        assert control_plane.tls is None
        assert control_plane.api_keys == ()
        assert control_plane.encryption_key is None
        assert control_plane.secret_sources.env_prefixes == ("VRATA_SECRET_",)
        assert [path.name for path in control_plane.secret_sources.file_directories] == ["secrets", "secrets"]
        proxy = settings.proxy
        assert proxy.control_plane_url is None
        assert proxy.reconnect_interval == 5
        assert proxy.cel_body_max_size == 65536
        assert proxy.name_servers == ()
        assert proxy.python_directories == ()
        assert proxy.tls is None
        assert proxy.api_key is None
        assert proxy.id == socket.gethostname()
        assert proxy.state_path == Path("/data/proxy")
        assert proxy.workers == len(os.sched_getaffinity(0))
        assert proxy.drain_timeout == 30
        assert proxy.admin is None
        assert (settings.log.format, settings.log.level) == ("console", "info")
        assert settings.warnings == ()

    @pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "mode:\nproxy:\ncontrolPlane: {}\n"])
    def test_an_empty_file(self, tmp_path: Path, text: str) -> None:
        self.check(loaded(tmp_path, text))

    def test_no_file_unless_one_was_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        self.check(load(None, {}))
        with pytest.raises(ConfigError, match=r"^config\.yaml: cannot be read: No such file or directory$"):
            load(Path("config.yaml"), {})
        write(tmp_path, "mode: neither")
        with pytest.raises(ConfigError, match='unknown mode "neither"'):
            load(None, {})

    def test_variables_that_are_unset_leave_the_defaults(self, tmp_path: Path) -> None:
        text = """
            mode: ${MODE}
            controlPlane: {address: "${A}", storePath: "${B}", tls: "${C}", auth: {apiKeys: "${D}"}}
            proxy: {reconnectInterval: "${E}", celBodyMaxSize: "${F}", workers: "${G}", apiKey: "${H}"}
            log: {format: "${I}", level: "${J}"}
            sessionStore: {type: "${K}"}
        """
        self.check(loaded(tmp_path, text))


def test_everything_stated(tmp_path: Path) -> None:
    text = """
        mode: controlplane
        controlPlane:
          address: "[::1]:${PORT:-9090}"
          storePath: ${HOME_OF_DATA:-/var/lib/vrata}
          auth: {apiKeys: [{name: ci, key: "${CI_KEY}"}, {name: ops, key: "two$word"}]}
          encryption: {key: "${ENCRYPTION}"}
          secrets: {allowEnv: [APP_], allowFile: [/nonexistent/secrets]}
        proxy:
          controlPlaneUrl: https://controlplane.internal:8443/
          reconnectInterval: 1m30s
          celBodyMaxSize: 0
          dns: {nameservers: [10.0.0.53, "10.0.0.54:5353", "fd00::53", "[FD00::54]:5353", "${DNS:-192.0.2.53}"]}
          apiKey: ${CI_KEY}
          id: proxy-1
          statePath: state
          workers: "${WORKERS}"
          drainTimeout: 0s
          admin: {address: "127.0.0.1:${ADMIN_PORT:-9901}"}
        log: {format: json, level: debug}
        sessionStore: {type: redis, redis: {address: "redis.internal:6380", password: "${REDIS}", db: "${DB}"}}
    """
    settings = loaded(tmp_path, text, CI_KEY="one", ENCRYPTION=KEY, WORKERS="3", REDIS="hush", DB="7")
    control_plane = settings.control_plane
    assert control_plane.address == Address("::1", 9090)
    assert str(control_plane.address) == "[::1]:9090"
    assert control_plane.store_path == Path("/var/lib/vrata")
    assert control_plane.api_keys == (ApiKey("ci", "one"), ApiKey("ops", "two$word"))
    assert control_plane.encryption_key == bytes(range(32))
    assert control_plane.secret_sources.env_prefixes == ("APP_",)
    assert control_plane.secret_sources.file_directories == (Path("/nonexistent/secrets"),)
    proxy = settings.proxy
    assert proxy.control_plane_url == "https://controlplane.internal:8443"
    assert proxy.reconnect_interval == 90
    assert proxy.cel_body_max_size == 0
    assert proxy.name_servers == (
        ("10.0.0.53", 53),
        ("10.0.0.54", 5353),
        ("fd00::53", 53),
        ("fd00::54", 5353),
        ("192.0.2.53", 53),
    )
    assert proxy.api_key == "one"
    assert proxy.id == "proxy-1"
    assert proxy.state_path == Path("state")
    assert proxy.workers == 3
    assert proxy.drain_timeout == 0
    assert proxy.admin == Address("127.0.0.1", 9901)
    assert (settings.log.format, settings.log.level) == ("json", "debug")
    assert settings.session_store == SessionStoreSettings(Address("redis.internal", 6380), "hush", 7)
    representation = repr(settings)
    assert "two$word" not in representation
    assert "hush" not in representation
    assert "one'" not in representation
    assert repr(bytes(range(32))) not in representation


DURATION = 'must be a duration such as "300ms", "1m30s" or "1.5h", got "soon"'
ADDRESS = 'must be "host:port" or ":port", got "nowhere"'
NAME_SERVER = 'must be an IP address, with a port or without, as in "10.0.0.53", "10.0.0.53:5353" or "[fd00::53]:53"'
PREFIX = "controlPlane.encryption.key: "

REFUSED: list[tuple[str, str]] = [
    # The file as a whole.
    ("- a\n", "must be a mapping of keys, got a list"),
    ("text", "must be a mapping of keys, got a string"),
    ("mode: neither", 'unknown mode "neither": must be "controlplane" or "proxy"'),
    ("mode: 5", "mode: must be a string, got a number"),
    ("modes: proxy", 'modes: unknown field, did you mean "mode"?'),
    ("controlPlanet: {}", 'controlPlanet: unknown field, did you mean "controlPlane"?'),
    ("x: {}", "x: unknown field"),
    ("mode: proxy\nmode: proxy\n", 'line 2, column 1: is not valid YAML: the key "mode" is given twice'),
    ("proxy: {id: a,\n  id: b}", 'line 2, column 3: is not valid YAML: the key "id" is given twice'),
    ("controlPlane: []", "controlPlane: must be an object, got a list"),
    (
        "proxy: {id: '${A'}",
        'proxy.id: has a "${" that begins neither ${NAME} nor ${NAME:-default}; write "$${" for text',
    ),
    # controlPlane.
    ("controlPlane: {adress: ':1'}", 'controlPlane.adress: unknown field, did you mean "address"?'),
    ("controlPlane: {address: nowhere}", f"controlPlane.address: {ADDRESS}"),
    ("controlPlane: {address: 8080}", "controlPlane.address: must be a string, got a number"),
    ("controlPlane: {address: ':65536'}", 'controlPlane.address: must be "host:port" or ":port", got ":65536"'),
    (
        "controlPlane: {address: '::1:8080'}",
        'controlPlane.address: must have an IPv6 address in brackets, as in "[::1]:8080", got "::1:8080"',
    ),
    ("controlPlane: {address: 'a b:80'}", 'controlPlane.address: must be an IP address or a host name, got "a b"'),
    ("controlPlane: {tls: {}}", "controlPlane.tls: cert and key are both required when tls is configured"),
    ("controlPlane: {tls: {cert: c.pem}}", "controlPlane.tls: cert and key are both required when tls is configured"),
    (
        "controlPlane: {tls: {cert: c, key: k, clientAuth: optional}}",
        'controlPlane.tls: ca is required when clientAuth is "optional"',
    ),
    (
        "controlPlane: {tls: {cert: c, key: k, clientAuth: maybe}}",
        'controlPlane.tls: clientAuth must be "none", "optional", or "require", got "maybe"',
    ),
    ("controlPlane: {auth: {apiKeys: [{key: a}]}}", "controlPlane.auth.apiKeys[0].name is required"),
    ("controlPlane: {auth: {apiKeys: [{name: a}]}}", "controlPlane.auth.apiKeys[0].key is required"),
    ("controlPlane: {auth: {apiKeys: [{name: a, key: '${UNSET}'}]}}", "controlPlane.auth.apiKeys[0].key is required"),
    (
        "controlPlane: {auth: {apiKeys: [{name: a, key: b}, {}]}}",
        "controlPlane.auth.apiKeys[1].name is required; controlPlane.auth.apiKeys[1].key is required",
    ),
    (
        "controlPlane: {auth: {apiKeys: [{name: a, key: b}, {name: a, key: c}]}}",
        "controlPlane.auth.apiKeys[1].name: is the same as that of apiKeys[0]",
    ),
    (
        "controlPlane: {auth: {apiKeys: [{name: a, key: b}, {name: c, key: b}]}}",
        "controlPlane.auth.apiKeys[1].key: is the same as that of apiKeys[0]",
    ),
    (
        "controlPlane: {auth: {apiKeys: [{name: a, key: 'b c'}]}}",
        "controlPlane.auth.apiKeys[0].key: must be visible ASCII characters without spaces: it travels in a header",
    ),
    (
        "controlPlane: {auth: {apiKeys: [{name: a, key: 5}]}}",
        "controlPlane.auth.apiKeys[0].key: must be a string, got a number",
    ),
    ("controlPlane: {encryption: {}}", f"{PREFIX}must not be empty (is the variable that it comes from unset?)"),
    (
        "controlPlane: {encryption: {key: ''}}",
        f"{PREFIX}must not be empty (is the variable that it comes from unset?)",
    ),
    (
        "controlPlane: {encryption: {key: '${UNSET}'}}",
        f"{PREFIX}must not be empty (is the variable that it comes from unset?)",
    ),
    ("controlPlane: {encryption: {key: YWJj}}", f"{PREFIX}must be exactly 32 bytes (AES-256), got 3"),
    (
        "controlPlane: {secrets: {allowFile: [run]}}",
        'controlPlane.secrets.allowFile[0]: must be an absolute path, got "run"',
    ),
    (
        "controlPlane: {secrets: {allowEnv: ['']}}",
        "controlPlane.secrets.allowEnv[0]: must not be empty: it would allow every variable",
    ),
    # proxy.dns.
    (
        "proxy: {dns: {nameservers: ['dns.example']}}",
        f'proxy.dns.nameservers[0]: {NAME_SERVER}, got "dns.example"',
    ),
    (
        "proxy: {dns: {nameservers: ['10.0.0.53:0']}}",
        f'proxy.dns.nameservers[0]: {NAME_SERVER}, got "10.0.0.53:0"',
    ),
    (
        "proxy: {dns: {nameservers: ['10.0.0.53:99999']}}",
        f'proxy.dns.nameservers[0]: {NAME_SERVER}, got "10.0.0.53:99999"',
    ),
    (
        "proxy: {dns: {nameservers: ['[fd00::53']}}",
        f'proxy.dns.nameservers[0]: {NAME_SERVER}, got "[fd00::53"',
    ),
    (
        "proxy: {dns: {nameservers: ['fe80::1%eth0']}}",
        f'proxy.dns.nameservers[0]: {NAME_SERVER}, got "fe80::1%eth0"',
    ),
    (
        "proxy: {dns: {nameservers: ['10.0.0.53:']}}",
        f'proxy.dns.nameservers[0]: {NAME_SERVER}, got "10.0.0.53:"',
    ),
    (
        "proxy: {dns: {nameservers: [10.0.0.53, '10.0.0.53:53']}}",
        "proxy.dns.nameservers[1]: is the same as nameservers[0]",
    ),
    # proxy.admin.
    ("proxy: {admin: {}}", "proxy.admin.address is required when admin is configured"),
    ("proxy: {admin: {address: '9901'}}", 'proxy.admin.address: must be "host:port" or ":port", got "9901"'),
    ("proxy: {admin: {adress: ':9901'}}", 'proxy.admin.adress: unknown field, did you mean "address"?'),
    # controlPlane.raft.
    (
        "controlPlane: {raft: {}}",
        "controlPlane.raft.nodeId is required when raft is configured; "
        "controlPlane.raft.bindAddress is required when raft is configured; "
        "controlPlane.raft requires either discovery.dns or at least one peer",
    ),
    (
        "controlPlane: {raft: {nodeId: a, bindAddress: ':7000', discovery: {dns: b}}}",
        "controlPlane.raft.advertiseAddress is required when bindAddress has no host",
    ),
    (
        "controlPlane: {raft: {nodeId: a, bindAddress: 'a:7000', discovery: {dns: b}, peers: ['a=a:7000', b]}}",
        "controlPlane.raft: discovery.dns and peers must not be given together; "
        'controlPlane.raft.peers[1]: must be "nodeId=host:port", got "b"',
    ),
    (
        "controlPlane: {raft: {nodeId: a, bindAddress: 'a:7000', peers: ['a=a:7000']}}",
        "controlPlane.raft: this build runs a single node and does not act on it yet",
    ),
    # proxy.
    ("mode: proxy", "proxy mode requires proxy.controlPlaneUrl to be set"),
    ("mode: proxy\nproxy: {controlPlaneUrl: '${UNSET}'}", "proxy mode requires proxy.controlPlaneUrl to be set"),
    *(
        (
            f"proxy: {{controlPlaneUrl: '{url}'}}",
            f'proxy.controlPlaneUrl: must be a URL such as "https://controlplane:8080", got "{shown}"',
        )
        for url, shown in [
            ("controlplane:8080", "controlplane:8080"),
            ("ftp://a", "ftp://a"),
            ("http://", "http://"),
            ("http://a:b", "http://a:b"),
            ("http://a?b", "http://a?b"),
            ("http://user:hidden@a", "http://…@a"),
        ]
    ),
    ("proxy: {reconnectInterval: soon}", f"proxy.reconnectInterval: {DURATION}"),
    ("proxy: {reconnectInterval: 0s}", 'proxy.reconnectInterval: must be longer than zero, got "0s"'),
    ("proxy: {reconnectInterval: 5}", "proxy.reconnectInterval: must be a string, got a number"),
    ("proxy: {drainTimeout: soon}", f"proxy.drainTimeout: {DURATION}"),
    ("proxy: {celBodyMaxSize: -1}", "proxy.celBodyMaxSize: must be an integer from 0 to 2147483647, got -1"),
    ("proxy: {celBodyMaxSize: 1.5}", "proxy.celBodyMaxSize: must be an integer from 0 to 2147483647, got 1.5"),
    ("proxy: {workers: many}", 'proxy.workers: must be an integer from 0 to 1024, got "many"'),
    ("proxy: {workers: -1}", "proxy.workers: must be an integer from 0 to 1024, got -1"),
    ("proxy: {workers: true}", "proxy.workers: must be an integer from 0 to 1024, got true"),
    ("proxy: {id: a/b}", 'proxy.id: must be usable in a URL path: no "/", no control characters, not "." or ".."'),
    ("proxy: {tls: {cert: c}}", "proxy.tls: cert and key must be given together or not at all"),
    ("proxy: {apiKey: 'a b'}", "proxy.apiKey: must be visible ASCII characters without spaces: it travels in a header"),
    # sessionStore.
    ("sessionStore: {type: redis, redis: {address: nowhere}}", f"sessionStore.redis.address: {ADDRESS}"),
    (
        "sessionStore: {type: redis, redis: {db: -1}}",
        "sessionStore.redis.db: must be an integer from 0 to 2147483647, got -1",
    ),
    ("sessionStore: {redis: {user: a}}", "sessionStore.redis.user: unknown field"),
    # log.
    ("log: {colour: yes}", "log.colour: unknown field"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refused(tmp_path, text) == message


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("controlPlane: [unclosed", "line 1, column "),
        ("a: b: c", "line 1, column 5: is not valid YAML: "),
        ("\x01", "is not valid YAML: "),
        ("mode: 2020-99-99", "is not valid YAML: "),
        ("controlPlane: {encryption: {key: '%%%'}}", f"{PREFIX}invalid base64: "),
        (f"controlPlane: {{encryption: {{key: '{KEY[:-2]}'}}}}", f"{PREFIX}invalid base64: "),
    ],
)
def test_what_is_refused_in_the_words_of_a_library(tmp_path: Path, text: str, beginning: str) -> None:
    assert refused(tmp_path, text).startswith(beginning)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read: No such file or directory$"):
        load(tmp_path / "absent.yaml", {})
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory$"):
        load(tmp_path, {})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ConfigError, match=r"binary\.yaml: is not valid YAML: "):
        load(tmp_path / "binary.yaml", {})


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, "proxy: {workers: x, id: a/b}\nlog: {x: 1}\ncontrolPlane: {address: x}")
    assert [part.split(":")[0] for part in message.split("; ")] == [
        "controlPlane.address",
        "proxy.id",
        "proxy.workers",
        "log.x",
    ]


def test_no_message_tells_a_secret(tmp_path: Path) -> None:
    text = """
        controlPlane: {auth: {apiKeys: [{name: a, key: "hid den"}]}, encryption: {key: hidden}}
        proxy: {apiKey: "hid den"}
    """
    assert "hid" not in refused(tmp_path, text)


class TestTls:
    def files(self, directory: Path) -> dict[str, str]:
        texts = {
            "CERT": OURS.cert,
            "KEY": OURS.key,
            "OTHER_KEY": OTHER.key,
            "CA": OTHER.cert,
            "LOCKED": OURS.encrypted_key,
            "JUNK": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        }
        for name, text in texts.items():
            (directory / name).write_text(text, encoding="utf-8")
        (directory / "BINARY").write_bytes(b"\xff\xfe")
        return {name: str(directory / name) for name in (*texts, "BINARY")}

    @pytest.mark.parametrize("inline", [False, True])
    def test_of_a_server(self, tmp_path: Path, inline: bool) -> None:
        environ = {"CERT": OURS.cert, "KEY": OURS.key, "CA": OTHER.cert} if inline else self.files(tmp_path)
        text = 'controlPlane: {tls: {cert: "${CERT}", key: "${KEY}", ca: "${CA}", clientAuth: require}}'
        tls = loaded(tmp_path, text, None, **environ).control_plane.tls
        assert tls is not None
        assert tls.client_auth == "require"
        assert tls.ca is not None
        assert [pem.read() for pem in (tls.cert, tls.key, tls.ca)] == [OURS.cert, OURS.key, OTHER.cert]
        assert tls.cert == (Pem(text=OURS.cert) if inline else Pem(path=tmp_path / "CERT"))
        assert "PRIVATE" not in repr(tls)

    @pytest.mark.parametrize(
        ("block", "present"),
        [
            ('{ca: "${CA}"}', (False, False, True)),
            ('{cert: "${CERT}", key: "${KEY}"}', (True, True, False)),
            ('{cert: "${CERT}", key: "${KEY}", ca: "${CA}", clientAuth: whatever}', (True, True, True)),
            ("{}", (False, False, False)),
        ],
    )
    def test_of_a_client(self, tmp_path: Path, block: str, present: tuple[bool, ...]) -> None:
        text = f"mode: proxy\nproxy: {{controlPlaneUrl: 'https://a', tls: {block}}}"
        tls = loaded(tmp_path, text, None, **self.files(tmp_path)).proxy.tls
        assert tls is not None
        assert (tls.cert is not None, tls.key is not None, tls.ca is not None) == present

    @pytest.mark.parametrize(
        ("cert", "key", "ca", "message"),
        [
            ("/absent/c", "KEY", "CA", "cert: /absent/c: No such file or directory"),
            ("BINARY", "KEY", "CA", "cert: {BINARY}: is not a text file"),
            ("JUNK", "KEY", "CA", "cert: {JUNK}: is not a valid PEM certificate: "),
            ("CERT", "CERT", "CA", "key: {CERT}: is not a valid PEM private key"),
            ("CERT", "LOCKED", "CA", "key: {LOCKED}: must be a private key without a passphrase"),
            ("CERT", "OTHER_KEY", "CA", "key: does not belong to the certificate"),
            ("CERT", "KEY", "JUNK", "ca: {JUNK}: is not a valid PEM certificate: "),
        ],
    )
    def test_material_that_cannot_be_used(self, tmp_path: Path, cert: str, key: str, ca: str, message: str) -> None:
        files = self.files(tmp_path)
        block = ", ".join(
            f"{name}: '{files.get(file, file)}'" for name, file in (("cert", cert), ("key", key), ("ca", ca))
        )
        expected = message.format(**files)
        text = f"controlPlane: {{tls: {{{block}}}}}"
        assert refused(tmp_path, text).startswith(f"controlPlane.tls.{expected}")
        text = f"mode: proxy\nproxy: {{controlPlaneUrl: 'https://a', tls: {{{block}}}}}"
        assert refused(tmp_path, text).startswith(f"proxy.tls.{expected}")

    def test_a_file_that_was_replaced_is_read_anew(self, tmp_path: Path) -> None:
        files = self.files(tmp_path)
        tls = loaded(tmp_path, "controlPlane: {tls: {cert: '${CERT}', key: '${KEY}'}}", None, **files).control_plane.tls
        assert tls is not None
        Path(files["CERT"]).write_text("renewed", encoding="utf-8")
        assert tls.cert.read() == "renewed"

    def test_only_material_of_what_runs_is_loaded(self, tmp_path: Path) -> None:
        server = "controlPlane: {tls: {cert: /absent/c, key: /absent/k}}\n"
        assert loaded(tmp_path, f"mode: proxy\nproxy: {{controlPlaneUrl: 'http://a'}}\n{server}").control_plane.tls
        assert loaded(tmp_path, "proxy: {tls: {ca: /absent}}").proxy.tls
        assert refused(tmp_path, server, "serve") == refused(tmp_path, f"mode: controlplane\n{server}")


class TestWhatRuns:
    def test_a_command_wins_over_the_mode(self, tmp_path: Path) -> None:
        text = "mode: proxy\nproxy: {controlPlaneUrl: 'http://a'}"
        assert loaded(tmp_path, text).mode == "proxy"
        assert loaded(tmp_path, text, "serve").mode == "controlplane"
        assert loaded(tmp_path, text, "controlplane").mode == "controlplane"
        assert loaded(tmp_path, "mode: controlplane\nproxy: {controlPlaneUrl: 'http://a'}", "proxy").mode == "proxy"

    def test_a_proxy_needs_a_control_plane(self, tmp_path: Path) -> None:
        assert refused(tmp_path, "", "proxy") == "proxy mode requires proxy.controlPlaneUrl to be set"
        assert loaded(tmp_path, "mode: proxy", "serve").proxy.control_plane_url is None

    def test_a_proxy_does_not_mind_raft(self, tmp_path: Path) -> None:
        raft = "controlPlane: {raft: {nodeId: a, bindAddress: 'a:7000', peers: ['a=a:7000']}}"
        assert loaded(tmp_path, f"proxy: {{controlPlaneUrl: 'http://a'}}\n{raft}", "proxy").mode == "proxy"


def test_a_session_store_on_this_machine(tmp_path: Path) -> None:
    local = SessionStoreSettings(Address("localhost", 6379), None, 0)
    for text in ("{type: redis}", "{type: redis, redis: {address: ':6379', password: '${UNSET}'}}"):
        for command in get_args(Command):
            proxy = "proxy: {controlPlaneUrl: 'http://a'}"
            assert loaded(tmp_path, f"{proxy}\nsessionStore: {text}", command).session_store == local
    assert loaded(tmp_path, "sessionStore: {redis: {address: 'a:1'}}").session_store is None
    assert loaded(tmp_path, "sessionStore: {type: memcached}").session_store is None


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("log: {format: xml}", 'log.format: "xml" is unknown, "console" is used'),
        ("log: {level: trace}", 'log.level: "trace" is unknown, "info" is used'),
        ("sessionStore: {type: memcached}", 'sessionStore.type: "memcached" is unknown, no session store is used'),
        (
            "proxy: {controlPlaneUrl: 'http://a', tls: {}}",
            "proxy.tls: has no effect, because proxy.controlPlaneUrl begins with http:",
        ),
    ],
)
def test_what_works_but_probably_not_as_meant(tmp_path: Path, text: str, warning: str) -> None:
    assert loaded(tmp_path, text).warnings == (warning,)


class TestSecretSources:
    def test_variables(self, tmp_path: Path) -> None:
        sources = loaded(tmp_path, "").control_plane.secret_sources
        assert sources.allows_variable("VRATA_SECRET_TOKEN")
        assert not sources.allows_variable("HOME")
        sources = loaded(tmp_path, "controlPlane: {secrets: {allowEnv: []}}").control_plane.secret_sources
        assert not sources.allows_variable("VRATA_SECRET_TOKEN")

    def test_files(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        text = f"controlPlane: {{secrets: {{allowFile: ['{tmp_path}/link', /etc/vrata/../tokens]}}}}"
        sources = loaded(tmp_path, text).control_plane.secret_sources
        assert sources.allows_file((tmp_path / "link" / "token").resolve())
        assert sources.allows_file(Path("/etc/tokens/a"))
        assert not sources.allows_file((tmp_path / "link" / ".." / "other").resolve())
        assert not sources.allows_file(Path("/etc/tokens-of-others/a"))
        sources = loaded(tmp_path, "controlPlane: {secrets: {allowFile: []}}").control_plane.secret_sources
        assert not sources.allows_file(Path("/run/secrets/a"))


def test_the_scheme_of_the_control_plane_is_one_whatever_its_case(tmp_path: Path) -> None:
    # What decides by the scheme whether there is TLS must not be deceived by its spelling.
    settings = loaded(tmp_path, "mode: proxy\nproxy: {controlPlaneUrl: 'HTTPS://CP.example:8443/'}", "proxy")
    assert settings.proxy.control_plane_url == "https://CP.example:8443"


@pytest.mark.parametrize("command", ["serve", "proxy"])
def test_directories_of_python_middlewares(tmp_path: Path, command: Command) -> None:
    (tmp_path / "middlewares").mkdir()
    text = (
        f"proxy: {{controlPlaneUrl: http://a, pythonMiddlewares: {{path: [{tmp_path}/middlewares, {tmp_path}/gone]}}}}"
    )
    write(tmp_path, text)
    file = tmp_path / "config.yaml"
    with pytest.raises(ConfigError) as caught:
        load(file, {}, command)
    assert [str(problem) for problem in caught.value.problems] == [
        f'proxy.pythonMiddlewares.path[1]: is no directory: "{tmp_path}/gone"'
    ]
    load(file, {}, "controlplane")
    (tmp_path / "gone").mkdir()
    assert load(file, {}, command).proxy.python_directories == (tmp_path / "middlewares", tmp_path / "gone")


def test_a_directory_of_python_middlewares_that_depends_on_where_the_proxy_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"proxy: {{pythonMiddlewares: {{path: [here, {tmp_path}/gone]}}}}", "serve")
    assert [str(problem) for problem in caught.value.problems] == [
        'proxy.pythonMiddlewares.path[0]: must be an absolute path, got "here"',
        f'proxy.pythonMiddlewares.path[1]: is no directory: "{tmp_path}/gone"',
    ]
