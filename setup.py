"""The compiled modules. Everything else about the package is in pyproject.toml.

Two kinds: extensions written in Cython, and the modules listed in ``hot-modules.txt``, which mypyc compiles as they
stand. All of them are optional: without a C compiler the install still works, and the interpreted sources are used.
One is optional beside the others: without nghttp2's header HTTP/2 runs on hyper-h2, and the rest compiled all the same.
``vrata.compilation`` reads the record that is written here, and decides at import which of the two run.
"""

import json
import logging
import os
import sysconfig
from importlib.util import source_hash
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError

SOURCES = Path("src")
HOT_MODULES = Path("hot-modules.txt").read_text(encoding="utf-8").split()
CYTHON = {
    "vrata.wire.http1.compiled_head": [
        f"vrata/wire/http1/{each}" for each in ("compiled_head.pyx", "spans.pxi", "edited.pxi")
    ],
    "vrata.proxy.runtime.compiled_buckets": ["vrata/proxy/runtime/compiled_buckets.pyx"],
    "vrata.proxy.runtime.compiled_numbers": ["vrata/proxy/runtime/compiled_numbers.pyx"],
}
NGHTTP2 = "vrata.wire.http2.compiled_session"
"""The extension that needs libnghttp2 and its header."""
CYTHON_ON_NGHTTP2 = [
    f"vrata/wire/http2/{each}"
    for each in (
        "compiled_session.pyx",
        "callbacks.pxi",
        "incoming_head.pxi",
        "nghttp2.pxi",
        "outgoing_fields.pxi",
        "session_input.pxi",
        "session_stream.pxi",
    )
]
PROBE = """
#include <nghttp2/nghttp2.h>
#if NGHTTP2_VERSION_NUM < 0x012b00
#error nghttp2 1.43 or newer is needed
#endif
int main(void) { return nghttp2_version(0) == 0; }
"""
GROUP = "vrata.data_path"
"""The library that holds the code of all hot modules; what stands beside each source only leads there."""


def digests() -> dict[str, str]:
    """The hash of every source that is compiled."""
    sources = [source for each in (*CYTHON.values(), CYTHON_ON_NGHTTP2) for source in each]
    sources += [str(Path(path).relative_to(SOURCES)) for path in HOT_MODULES]
    return {each: source_hash((SOURCES / each).read_bytes()).hex() for each in sources}


# Taken before anything is compiled: what is edited meanwhile must not pass for what was compiled.
DIGESTS = digests()


def hot_extensions() -> list[Extension]:
    """What mypyc makes of the hot modules; nothing where it cannot."""
    # mypy's settings in pyproject.toml are for developers: whoever installs need not have every library's types.
    arguments = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent", *HOT_MODULES]
    try:
        from mypyc.build import mypycify

        # A file for each module: of one for all of them gcc makes the same in four times as long.
        made = mypycify(arguments, group_name=GROUP, opt_level="2", multi_file=True)
    except (ImportError, SystemExit) as error:  # the latter is how mypyc says that it met what it cannot compile
        logging.warning("vrata: the hot modules are not compiled and will run interpreted: %s", error)
        return []
    for extension in made:
        # mypyc writes the group's header beside the file of its package, and looks for it beside the others too.
        extension.include_dirs.append(str(Path("build", *GROUP.split(".")[:-1])))
    return made


class BuildExtensions(build_ext):
    """Builds with all processors, and records what each compiled module was made from."""

    def finalize_options(self) -> None:
        """Let whoever builds say otherwise."""
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self) -> None:
        """Leave out what needs nghttp2 where that is not at hand."""
        if not self.has_nghttp2():
            logging.warning("vrata: no nghttp2 1.43 or newer to compile with: HTTP/2 will run on hyper-h2, more slowly")
            self.extensions = [each for each in self.extensions if each.name != NGHTTP2]
        super().build_extensions()

    def has_nghttp2(self) -> bool:
        """Whether a program that uses it can be compiled and linked."""
        with TemporaryDirectory() as directory:
            source = Path(directory, "probe.c")
            source.write_text(PROBE, encoding="ascii")
            try:
                objects = self.compiler.compile([str(source)], output_dir=directory)
                self.compiler.link_executable(objects, "probe", output_dir=directory, libraries=["nghttp2"])
            except CCompilerError:
                return False
        return True

    def run(self) -> None:
        """Build, then record what all that is there was built from; nothing when something is missing."""
        super().run()
        root = Path(self.get_ext_fullpath("vrata.compilation")).parent
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        made = {Path(self.get_ext_fullpath(extension.name)).resolve() for extension in self.extensions}
        for file in root.rglob(f"*{suffix}"):
            if file.resolve() not in made:
                file.unlink()  # of a module that is compiled no more: it would look for its code in the group's library
        modules = [*CYTHON, *(".".join(Path(path).relative_to(SOURCES).with_suffix("").parts) for path in HOT_MODULES)]
        # What mypyc makes of each module is a door to the library of all of them, and of no use without it.
        modules += [extension.name for extension in self.extensions if extension.name != NGHTTP2]
        missing = [module for module in modules if not Path(self.get_ext_fullpath(module)).exists()]
        record = root / "compiled.json"
        record.unlink(missing_ok=True)
        if missing:
            logging.warning("vrata: not compiled, so nothing compiled will be used: %s", ", ".join(missing))
            return
        made_of = dict(DIGESTS)
        if not Path(self.get_ext_fullpath(NGHTTP2)).exists():
            for source in CYTHON_ON_NGHTTP2:
                del made_of[source]
        record.write_text(json.dumps({"suffix": suffix, "sources": made_of}), encoding="utf-8")


extensions = [
    Extension(name, [str(SOURCES / sources[0])], depends=[str(SOURCES / each) for each in sources[1:]])
    for name, sources in CYTHON.items()
] + hot_extensions()
extensions.append(
    Extension(
        NGHTTP2,
        [str(SOURCES / CYTHON_ON_NGHTTP2[0])],
        depends=[str(SOURCES / each) for each in CYTHON_ON_NGHTTP2[1:]],
        libraries=["nghttp2"],
    )
)
for extension in extensions:
    extension.optional = True
    # What tells a debugger the lines of generated C takes a quarter of the time to compile.
    extension.extra_compile_args = [*extension.extra_compile_args, "-g0"]

setup(ext_modules=extensions, cmdclass={"build_ext": BuildExtensions})
