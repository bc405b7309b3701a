"""Graph: what an ONNX file holds, read without running it, and what of it is refused.

Only the parts of the protobuf that matter are read: operators, their subgraphs, and where constants are stored. The
`onnx` package is not needed, so that serving and Lambda go without it.
Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3, for the field numbers.
"""

from collections.abc import Iterator
from typing import Final

from scones.domain.errors import ModelError

DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""The operator sets that ONNX Runtime implements itself; any other needs a library of its own."""
CONTROL_FLOW: Final = frozenset({"Loop", "Scan", "If", "SequenceMap", "BeamSearch", "GreedySearch", "Sampling"})
"""Operators that may never end, or that choose what runs by the photo."""
MAX_NODES: Final = 20_000
MAX_ELEMENTS: Final = 100_000_000
"""The largest constant, in numbers; EfficientNet-Lite4 has 13 million in all."""

# Field numbers in the messages of ONNX.
_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = 5, 6, 10, 11, 22
_TENSOR_DIMS, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 13, 14

_VARINT, _I64, _LENGTH, _I32 = 0, 1, 2, 5


class ForbiddenGraph(ModelError):
    """The file is no ONNX model, or one that is not run; the message says why."""


def check_graph(model: bytes) -> None:
    """Refuse a model that may not end, needs other files or libraries, or has too large a constant.

    Raises:
        ForbiddenGraph: with the reason, in a few words.
    """
    graphs = 0
    for number, value in _fields(memoryview(model)):
        if number == _MODEL_FUNCTIONS:
            raise ForbiddenGraph("it defines functions, which are not supported; inline them")
        if number == _MODEL_GRAPH:
            graphs += 1
            _check(_message(value))
    if graphs != 1:
        raise ForbiddenGraph(f"it has {graphs} graphs in place of one")


def _check(graph: memoryview) -> None:
    nodes = 0
    for number, value in _fields(graph):
        if number == _GRAPH_NODE:
            nodes += 1
            if nodes > MAX_NODES:
                raise ForbiddenGraph(f"it has more than {MAX_NODES:,} operators")
            _check_node(_message(value))
        elif number == _GRAPH_INITIALIZER:
            _check_tensor(_message(value))
        elif number == _GRAPH_SPARSE:
            raise ForbiddenGraph("it has sparse constants, which are not supported")


def _check_node(node: memoryview) -> None:
    operator, domain, attributes = "", "", []
    for number, value in _fields(node):
        if number == _NODE_OPERATOR:
            operator = _text(value)
        elif number == _NODE_DOMAIN:
            domain = _text(value)
        elif number == _NODE_ATTRIBUTE:
            attributes.append(_message(value))
    if operator in CONTROL_FLOW:
        raise ForbiddenGraph(f"its operator {operator} may run without end")
    if domain not in DOMAINS:
        raise ForbiddenGraph(f"its operator {operator} is of {domain}, which needs a library of its own")
    for attribute in attributes:
        _check_attribute(attribute, operator)


def _check_attribute(attribute: memoryview, operator: str) -> None:
    for number, value in _fields(attribute):
        if number in {_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS}:
            raise ForbiddenGraph(f"its operator {operator} holds another graph")
        if number == _ATTRIBUTE_SPARSE:
            raise ForbiddenGraph("it has sparse constants, which are not supported")
        if number in {_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS}:
            _check_tensor(_message(value))


def _check_tensor(tensor: memoryview) -> None:
    elements = 1
    for number, value in _fields(tensor):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value == 1):
            raise ForbiddenGraph("it refers to data in another file")
        if number == _TENSOR_DIMS:
            for dimension in (value,) if isinstance(value, int) else _varints(value):
                elements *= dimension
                if elements > MAX_ELEMENTS:
                    raise ForbiddenGraph(f"a constant has more than {MAX_ELEMENTS:,} numbers")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and the value of each field of a protobuf message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == _LENGTH:
            size, at = _varint(message, at)
        elif kind in {_I64, _I32}:
            size = 8 if kind == _I64 else 4
        else:
            raise ForbiddenGraph("it is no ONNX model")
        if size > len(message) - at:
            raise ForbiddenGraph("it is cut short, or no ONNX model")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ForbiddenGraph("it is cut short, or no ONNX model")


def _varints(packed: memoryview) -> Iterator[int]:
    at = 0
    while at < len(packed):
        value, at = _varint(packed, at)
        yield value


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ForbiddenGraph("it is no ONNX model")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode("utf-8", "backslashreplace")[:100]
