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
from vrata.proxy.middleware.python.modules import NO_MODULES, PACKAGE, ClassUnavailable, load_modules

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
