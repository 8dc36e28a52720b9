"""The compiled modules. Everything else about the package is in pyproject.toml.

Each extension is optional: without a C compiler the install still works, and its interpreted twin is used.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "vrata.wire.http1.compiled_head",
            ["src/vrata/wire/http1/compiled_head.pyx"],
            depends=["src/vrata/wire/http1/spans.pxi"],
            extra_compile_args=["-O2"],
            optional=True,
        )
    ]
)
