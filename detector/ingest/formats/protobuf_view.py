"""Protobuf messages that leave some of their fields undecoded.

A field that holds a message is written as its length and its bytes. So a reader may
take it as bytes and decode it later, or not at all. What repeats in every record, such
as the attributes of a series, is then a key of a dictionary that holds what it says.
One attribute costs 0.5 µs to read in Python, which is what a whole point costs without.

Source: the encoding of Protocol Buffers, "Length-Delimited Records".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import DecodeError, Message

UNDECODABLE: Final = (DecodeError, UnicodeDecodeError, RecursionError)
_ONE: Final = FieldDescriptorProto.LABEL_OPTIONAL


def view(
    file: FileDescriptor, undecoded: Collection[str]
) -> descriptor_pool.DescriptorPool:
    """The messages of a file, with some of their fields as bytes.

    ``undecoded`` names the fields, as ``Message.field``.
    """
    pool = descriptor_pool.DescriptorPool()
    _add(pool, file, frozenset(undecoded), set())
    return pool


def message_class(pool: descriptor_pool.DescriptorPool, full_name: str) -> Any:
    """The class of a message, whose fields mypy can't know."""
    descriptor = pool.FindMessageTypeByName(full_name)
    found: type[Message] = message_factory.GetMessageClass(descriptor)
    return found


def _add(
    pool: descriptor_pool.DescriptorPool,
    file: FileDescriptor,
    undecoded: Collection[str],
    added: set[str],
) -> None:
    """Add a file, and first those that it imports."""
    if file.name in added:
        return
    added.add(file.name)
    for dependency in file.dependencies:
        _add(pool, dependency, (), added)
    copy = FileDescriptorProto()
    file.CopyToProto(copy)
    for message in copy.message_type:
        for field in message.field:
            if f"{message.name}.{field.name}" in undecoded:
                field.type = FieldDescriptorProto.TYPE_BYTES
                field.ClearField("type_name")
    pool.Add(copy)


class Field(NamedTuple):
    """A field of a message that this project declares itself.

    ``kind`` is a type of ``FieldDescriptorProto``, or the name of a message.
    """

    name: str
    number: int
    kind: int | str
    repeated: bool = False


def declare(
    package: str, messages: Mapping[str, Sequence[Field]]
) -> descriptor_pool.DescriptorPool:
    """Messages by name and fields, as proto3; a field without a value is its default.

    It is for schemas that no package carries. Fields that are left out are skipped when
    a message is read.
    """
    file = FileDescriptorProto(
        name=f"{package}.proto",
        package=package,
        syntax="proto3",
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field in fields:
            added = message.field.add(name=field.name, number=field.number)
            added.label = added.LABEL_REPEATED if field.repeated else _ONE
            if isinstance(field.kind, str):
                added.type = added.TYPE_MESSAGE
                added.type_name = f".{package}.{field.kind}"
            else:
                added.type = field.kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool
