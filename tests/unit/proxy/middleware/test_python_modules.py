"""Loading the modules of middlewares of the user's own."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from vrata.middleware import Middleware, Request, Response
from vrata.proxy.middleware.python.directory import PACKAGE
from vrata.proxy.middleware.python.modules import NO_MODULES, ClassUnavailable, load_modules

TENANTS = """
from vrata.middleware import Middleware, Request, Response

class Tenants(Middleware):
    def on_request(self, request: Request) -> Response | None:
        return Response(403) if "x-tenant" not in request.headers else None

class Other:
    pass

number = 1
"""


@pytest.fixture(autouse=True)
def _no_module_left() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]


def test_a_class(tmp_path: Path) -> None:
    (tmp_path / "tenants.py").write_text(TENANTS)
    found = load_modules([tmp_path]).find("tenants:Tenants")
    answer = found({}).on_request(Request())
    assert isinstance(answer, Response)
    assert answer.status == 403
    assert found.__module__ == "vrata_python.tenants"
    # Nothing is left beside it: the directory may be read-only, and bytecode that lies there is not to be trusted.
    assert [path.name for path in tmp_path.iterdir()] == ["tenants.py"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tenants:Missing", "the module tenants has no class Missing"),
        ("tenants:Other", "tenants:Other is no subclass of vrata.middleware.Middleware"),
        ("tenants:number", "tenants:number is no subclass of vrata.middleware.Middleware"),
        ("os:PathLike", "there was no module os in proxy.pythonMiddlewares.path when the worker started"),
        ("nothing:X", "there was no module nothing in proxy.pythonMiddlewares.path when the worker started"),
    ],
)
def test_classes_that_cannot_be_had(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "tenants.py").write_text(TENANTS)
    with pytest.raises(ClassUnavailable) as caught:
        load_modules([tmp_path]).find(name)
    assert str(caught.value) == reason


def test_the_base_class_itself_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "tenants.py").write_text(TENANTS)
    assert load_modules([tmp_path]).find("tenants:Middleware") is Middleware


def test_without_directories() -> None:
    with pytest.raises(ClassUnavailable, match=r"proxy\.pythonMiddlewares\.path is empty"):
        NO_MODULES.find("a:B")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_like_that", "ModuleNotFoundError: No module named 'nothing_like_that'"),
        ("class A(", "SyntaxError: '(' was never closed (broken.py, line 1)"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import asyncio\nraise asyncio.CancelledError('x')", "CancelledError: x"),
    ],
)
def test_a_module_that_fails_is_a_reason_and_no_more(tmp_path: Path, source: str, reason: str) -> None:
    (tmp_path / "broken.py").write_text(source)
    (tmp_path / "tenants.py").write_text(TENANTS)
    with capture_logs() as entries:
        modules = load_modules([tmp_path])
    assert modules.find("tenants:Tenants")
    with pytest.raises(ClassUnavailable) as caught:
        modules.find("broken:A")
    assert str(caught.value) == f"the module broken was not loaded: {reason}"
    (entry,) = entries
    assert (entry["log_level"], entry["path"]) == ("error", str(tmp_path / "broken.py"))
    assert entry["exc_info"]
    assert f"{PACKAGE}.broken" not in sys.modules


def test_only_files_directly_in_a_directory(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    (allowed / "package").mkdir(parents=True)
    for path in ("package/inner.py", "package/__init__.py", "dotted.name.py", "text.txt", "1st.py", "ü.py", "data.pyc"):
        (allowed / path).write_text("raise AssertionError")
    (tmp_path / "outside.py").write_text("raise AssertionError")
    (allowed / "link.py").symlink_to(tmp_path / "outside.py")
    (allowed / "up.py").symlink_to("../outside.py")
    (allowed / "dangling.py").symlink_to("nowhere")
    (allowed / "folder.py").mkdir()
    os.mkfifo(allowed / "pipe.py")
    with capture_logs() as entries:
        modules = load_modules([allowed])
    reasons = {Path(entry["path"]).name: entry["reason"] for entry in entries}
    outside = "it is a link to a file outside of its directory"
    assert reasons.pop("folder.py") == "Is a directory"
    assert reasons.pop("dangling.py") == "No such file or directory"
    assert reasons.pop("pipe.py") == "it is no regular file"
    assert reasons == {"link.py": outside, "up.py": outside}
    with pytest.raises(ClassUnavailable, match=outside):
        modules.find("link:A")
    for name in ("inner", "package", "data"):
        with pytest.raises(ClassUnavailable, match="there was no module"):
            modules.find(f"{name}:A")


def test_a_volume_as_kubernetes_mounts_it(tmp_path: Path) -> None:
    (tmp_path / "..2026_11_30").mkdir()
    (tmp_path / "..2026_11_30" / "tenants.py").write_text(TENANTS)
    (tmp_path / "..data").symlink_to("..2026_11_30")
    (tmp_path / "tenants.py").symlink_to("..data/tenants.py")
    assert load_modules([tmp_path]).find("tenants:Tenants")


def test_what_everybody_may_write_to_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "tenants.py").write_text(TENANTS)
    (tmp_path / "tenants.py").chmod(0o666)
    with capture_logs():
        modules = load_modules([tmp_path])
    with pytest.raises(ClassUnavailable, match="the module tenants was not loaded: everybody may write to it"):
        modules.find("tenants:Tenants")
    (tmp_path / "tenants.py").chmod(0o644)
    tmp_path.chmod(0o1777)
    with capture_logs() as entries:
        load_modules([tmp_path])
    assert entries[0]["reason"] == "everybody may write to it"


def test_that_a_link_leads_through_no_directory_that_everybody_may_write_to(tmp_path: Path) -> None:
    (tmp_path / "open" / "inner").mkdir(parents=True)
    (tmp_path / "open" / "inner" / "tenants.py").write_text(TENANTS)
    (tmp_path / "tenants.py").symlink_to("open/inner/tenants.py")
    assert load_modules([tmp_path]).find("tenants:Tenants")
    (tmp_path / "open").chmod(0o777)
    with capture_logs():
        modules = load_modules([tmp_path])
    with pytest.raises(ClassUnavailable, match="the module tenants was not loaded: everybody may write to it"):
        modules.find("tenants:Tenants")


def test_the_first_directory_counts(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tenants.py").write_text(f"{TENANTS}\nclass Which(Middleware):\n    name = {name!r}\n")
    with capture_logs() as entries:
        found = load_modules([tmp_path / "one", tmp_path / "two"]).find("tenants:Which")
    assert vars(found)["name"] == "one"
    (entry,) = entries
    assert (entry["log_level"], entry["path"]) == ("warning", str(tmp_path / "two" / "tenants.py"))


def test_a_directory_that_has_gone(tmp_path: Path) -> None:
    with capture_logs() as entries:
        modules = load_modules([tmp_path / "gone"])
    assert entries[0]["reason"] == "No such file or directory"
    with pytest.raises(ClassUnavailable, match="there was no module a in"):
        modules.find("a:B")


def test_what_looks_its_module_up(tmp_path: Path) -> None:
    (tmp_path / "shapes.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from vrata.middleware import Middleware\n"
        "@dataclass\nclass Point:\n    kind: ClassVar[str] = 'p'\n    x: int = 1\n"
        "class Shapes(Middleware):\n    point = Point()\n"
    )
    found = load_modules([tmp_path]).find("shapes:Shapes")
    assert [field.name for field in dataclasses.fields(vars(found)["point"])] == ["x"]


def test_what_a_module_logs_goes_to_the_log_of_the_proxy(tmp_path: Path) -> None:
    (tmp_path / "talking.py").write_text(
        "import logging\nlog = logging.getLogger(__name__)\nlog.info('loaded %s', 'well')\n"
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('odd')\n"
    )
    with capture_logs() as entries:
        load_modules([tmp_path])
        load_modules([tmp_path])
    assert [(entry["log_level"], entry["event"], entry["logger"]) for entry in entries[:2]] == [
        ("info", "loaded well", "vrata_python.talking"),
        ("error", "odd", "vrata_python.talking"),
    ]
    assert entries[1]["exc_info"][0] is ZeroDivisionError
    assert len(entries) == 4  # each once, however often modules are loaded


USER = """
from vrata.middleware import Middleware
{imports}

class User(Middleware):
    names = {names}

    def on_request(self, request):
        import sharedtables
        return self.names, sharedtables
"""


def test_modules_import_those_beside_them(tmp_path: Path) -> None:
    (tmp_path / "sharedtables.py").write_text("import json\nfrom zones import ZONES\nPLANS = {'a': 1}\nLOADED = []\n")
    (tmp_path / "zones.py").write_text("ZONES = ['north']\n")
    (tmp_path / "after.py").write_text(
        USER.format(imports="from sharedtables import PLANS, ZONES", names="(PLANS, ZONES)")
    )
    (tmp_path / "zz.py").write_text(USER.format(imports="import sharedtables as tables, os.path", names="tables.PLANS"))
    modules = load_modules([tmp_path])
    names, tables = modules.find("after:User")({}).on_request(Request())  # type: ignore[misc]
    assert names == ({"a": 1}, ["north"])
    # Late, and from elsewhere: always the same one.
    assert tables is sys.modules["vrata_python.sharedtables"]
    other, same = modules.find("zz:User")({}).on_request(Request())  # type: ignore[misc]
    assert other is names[0]
    assert same is tables
    # For them alone.
    assert "sharedtables" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        __import__("sharedtables")


def test_two_that_import_each_other(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("import two\nFIRST = 1\ndef both(): return FIRST, two.SECOND\n")
    (tmp_path / "two.py").write_text("import one\nSECOND = 2\ndef both(): return one.FIRST, SECOND\n")
    load_modules([tmp_path])
    assert sys.modules["vrata_python.one"].both() == sys.modules["vrata_python.two"].both() == (1, 2)


def test_no_module_hides_an_installed_one(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise AssertionError('not this one')")
    (tmp_path / "mine.py").write_text(USER.format(imports="import json", names="json.dumps([])"))
    with capture_logs() as entries:
        modules = load_modules([tmp_path])
    assert [entry["path"] for entry in entries] == [str(tmp_path / "json.py")]
    assert vars(modules.find("mine:User"))["names"] == "[]"


@pytest.mark.parametrize(
    ("source", "mode", "reason"),
    [
        ("PLANS = {}", 0o666, "everybody may write to it"),
        ("1 / 0", 0o644, "ZeroDivisionError: division by zero"),
        ("from mine import User", 0o644, "ImportError: cannot import name 'User' from "),
    ],
)
def test_a_module_that_those_beside_it_cannot_have(tmp_path: Path, source: str, mode: int, reason: str) -> None:
    (tmp_path / "sharedtables.py").write_text(source)
    (tmp_path / "sharedtables.py").chmod(mode)
    (tmp_path / "mine.py").write_text(USER.format(imports="from sharedtables import PLANS", names="PLANS"))
    with capture_logs() as entries:
        modules = load_modules([tmp_path])
    with pytest.raises(ClassUnavailable) as unavailable:
        modules.find("mine:User")
    text = f"the module mine was not loaded: the module sharedtables beside it was not loaded: {reason}"
    assert str(unavailable.value).startswith(text)
    # The cause alone is worth a traceback.
    assert [(Path(entry["path"]).stem, "exc_info" in entry) for entry in entries] == [
        ("sharedtables", not mode & 2),
        ("mine", False),
    ]


def test_one_that_another_directory_hides_is_not_imported(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sharedtables.py").write_text(f"PLANS = {name!r}")
    (tmp_path / "two" / "mine.py").write_text(USER.format(imports="from sharedtables import PLANS", names="PLANS"))
    with capture_logs():
        modules = load_modules([tmp_path / "one", tmp_path / "two"])
    with pytest.raises(ClassUnavailable, match=f"sharedtables beside it .* is hidden by the one in {tmp_path}/one"):
        modules.find("mine:User")
