"""The message classes that Google's library makes of the files under ``proto/``."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2] / "proto"


@cache
def message_class(file: str, name: str) -> Any:
    """The class of the message with the full *name*, which *file*, a path under ``proto/``, declares."""
    return message_factory.GetMessageClass(_pool(file).FindMessageTypeByName(name))


@cache
def _pool(file: str) -> Any:
    """A pool of its own, so that nothing here meets the messages that other packages have registered."""
    included = Path(protoc.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as directory:
        found = Path(directory) / "descriptors"
        command = ["protoc", f"-I{ROOT}", f"-I{included}", "--include_imports", f"--descriptor_set_out={found}", file]
        assert protoc.main(command) == 0, file
        files = descriptor_pb2.FileDescriptorSet.FromString(found.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for declared in files.file:
        pool.Add(declared)
    return pool
