"""YAML files that people write: words and numbers as in YAML 1.2, bounded, every fault with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from equipoise.errors import ConfigError
from equipoise.regular import open_regular

_MOST_BYTES = 1 << 20
# Once every alias is replaced by what it stands for. A file without aliases cannot reach it.
_MOST_NODES = 1 << 20
_DEEPEST = 100
# Nothing is counted so far, and JSON of larger numbers is not read everywhere.
_LARGEST = 1 << 63
_TAG = "tag:yaml.org,2002:"
_TAGS = tuple(_TAG + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map"))
# Of a value that is not written as its kind wants, PyYAML's own readers raise any of these.
_UNREADABLE = (ValueError, LookupError, AttributeError, TypeError)
# Escapes may bring what no name, path or header can hold.
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
# Nor any text, but for tabs and line breaks.
_IN_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class Document(NamedTuple):
    """What a file says, and where it says it. ``root`` is None where it says nothing."""

    value: Any
    root: yaml.Node | None

    def line(self, *where: int | str) -> int:
        """The line of the deepest part of ``where`` that the file has."""
        line, node = 1, self.root
        for part in where:
            if isinstance(node, yaml.MappingNode):
                pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
                if pair is None:
                    break
                line, node = pair[0].start_mark.line + 1, pair[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                break
        return line


class _Loader(yaml.SafeLoader):
    """`off`, `no` and 2026-01-01 are words, 1e-4 is a number, 010 is ten: as in YAML 1.2, and all is JSON."""

    # PyYAML's own way. Under None stands what refuses every other tag.
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012
    yaml_constructors = {tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (*_TAGS, None)}  # noqa: RUF012

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node; what it cannot be is told with its line."""
        try:
            return super().construct_object(node, deep=deep)
        except _UNREADABLE:
            said = f"found what cannot be read as {node.tag.removeprefix(_TAG)}"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark) from None


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    number = int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if abs(number) >= _LARGEST:
        raise ValueError
    return number


_Loader.add_constructor(_TAG + "int", _whole)
for _kind, _form, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(f"(?:{_form})$"), list(_first))


def read_document(path: Path, *, texts: bool = False) -> Document:
    """Read a YAML file.

    Args:
        texts: whether it holds texts, in which lines may break, beside names, paths and headers.

    Raises:
        ConfigError: it cannot be read, is too large or no YAML, or says the same twice; with file and line.
        OSError: there is no such file, or none that can be read.
    """
    with open_regular(path) as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"{path}: larger than {_MOST_BYTES} bytes, which no configuration is")
    try:
        return _read(data, path, _IN_TEXT if texts else _CONTROL)
    except yaml.MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        raise ConfigError(f"{path}:{line}: not YAML ({error.problem}); mend the line or the one before it") from None
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        raise ConfigError(f"{path}:{line}: not YAML (not UTF-8: {error.reason}); save it as UTF-8") from None
    except yaml.reader.ReaderError as error:
        line = 1 + data.decode()[: error.position].count("\n")
        said = f"the character {error.character:#04x} may not stand in it"
        raise ConfigError(f"{path}:{line}: not YAML ({said}); take it out") from None
    except RecursionError:
        raise ConfigError(f"{path}: not YAML (nested too deeply)") from None


def _read(data: bytes, path: Path, refused: re.Pattern[str]) -> Document:
    loader = _Loader(data.decode())
    try:
        root = loader.get_single_node()
        if root is None:
            return Document(None, None)
        _refuse_endless(root, path)
        for node in _nodes(root):
            if isinstance(node, yaml.ScalarNode) and refused.search(node.value):
                _refuse(path, node, "holds a line break or another control character; take it out")
            elif isinstance(node, yaml.MappingNode):
                _refuse_repeated(node, path)
        return Document(loader.construct_document(root), root)
    finally:
        loader.dispose()


def _refuse(path: Path, node: yaml.Node, said: str) -> NoReturn:
    raise ConfigError(f"{path}:{node.start_mark.line + 1}: {said}")


def _refuse_endless(root: yaml.Node, path: Path) -> None:
    """Aliases may stand for themselves, or say in a few lines what would fill the memory."""
    sizes: dict[int, int] = {}
    within: set[int] = set()

    def size(node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) in within:
            _refuse(path, node, "this stands within itself, by an alias; write it out")
        if len(within) == _DEEPEST:
            _refuse(path, node, f"nested more than {_DEEPEST} deep, which no configuration is")
        if id(node) not in sizes:
            within.add(id(node))
            sizes[id(node)] = 1 + sum(map(size, _parts(node)))
            within.discard(id(node))
            if sizes[id(node)] > _MOST_NODES:
                _refuse(path, node, "its aliases make this larger than any configuration is; write it out")
        return sizes[id(node)]

    size(root)


def _refuse_repeated(mapping: yaml.MappingNode, path: Path) -> None:
    """YAML would silently keep the last of two equal keys."""
    seen: set[str] = set()
    for key, _ in mapping.value:
        if str(key.value) in seen:
            _refuse(path, key, f"{key.value}: given twice; keep one of them")
        seen.add(str(key.value))


def _nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Every node once, in the order of the file."""
    pending, seen = [root], set[int]()
    while pending:
        node = pending.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            pending.extend(reversed(_parts(node)))


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []
