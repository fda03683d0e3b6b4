"""
Imports point down.

The layers of the architecture page, lowest first, and which modules stand in each. Every import
of the package is read from the source, whether it stands at the top or inside a function; what is
imported for type checkers only counts too, because it is knowledge all the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import trio_hub

PACKAGE = Path(trio_hub.__file__).parent

#: Each part of the package and how high it stands. Parts of one height do not know each other.
HEIGHTS = {
    "_version": 0,
    "errors": 0,
    "ids": 0,
    "_nursery": 0,
    "_logging": 0,
    "_spans": 0,
    "_tracing": 1,
    "_histogram": 0,
    "records": 1,
    "protocol": 2,
    "wire": 3,
    "links": 4,
    "stores": 4,
    "auth": 4,
    "hub": 5,
    "client": 5,
    "metrics": 6,
    # Joins a hub with others by being a client of theirs, so it stands above both shells.
    "federation": 6,
    "testing": 6,
    "providers": 6,
    "mcp": 6,
    "dashboard": 7,
    "cli": 8,
    "__main__": 9,
    # The names that users may import, from everywhere.
    "__init__": 9,
}

#: What is pure, and so must not know of Trio or of anything that does I/O.
PURE = {"errors", "ids", "records", "protocol", "wire"}
IO_MODULES = {
    "asyncio",
    "os",
    "pathlib",
    "select",
    "selectors",
    "shutil",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "trio",
    "trio_websocket",
    "websockets",
    "wsproto",
}
#: Who alone may import what.
ONLY_LINKS = {"trio_websocket", "wsproto", "websockets", "socket"}
ONLY_STORES = {"sqlite3"}


@attrs.frozen
class Import:
    """`module` (a file below the package) imports `target`, at a line."""

    module: str
    target: str
    line: int

    @property
    def importer_part(self) -> str:
        return _part(self.module)

    def __str__(self) -> str:
        return f"trio_hub/{self.module}:{self.line} imports {self.target}"


def _part(module: str) -> str:
    first = module.split("/")[0]
    return first.removesuffix(".py")


def _imports_of(path: Path) -> Iterator[Import]:
    module = path.relative_to(PACKAGE).as_posix()
    # The dotted package that relative imports start from.
    package = ["trio_hub", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            # `from .. import paths` imports a module, `from ..errors import X` a name of one.
            for alias in node.names:
                is_bare = node.module is None or name == "trio_hub"
                yield Import(module, f"{name}.{alias.name}" if is_bare else name, node.lineno)


IMPORTS = [found for path in sorted(PACKAGE.rglob("*.py")) for found in _imports_of(path)]


def _own_part(target: str) -> str | None:
    parts = target.split(".")
    if parts[0] != "trio_hub":
        return None
    return parts[1] if len(parts) > 1 else "__init__"


def test_there_are_imports_to_look_at() -> None:
    assert len(IMPORTS) > 300
    assert {found.importer_part for found in IMPORTS} >= {"hub", "client", "wire", "protocol"}


@pytest.mark.parametrize(
    "part", sorted({_part(p.relative_to(PACKAGE).as_posix()) for p in PACKAGE.rglob("*.py")})
)
def test_every_part_of_the_package_has_a_height(part: str) -> None:
    assert part in HEIGHTS, f"{part}: say in HEIGHTS which layer it is"


def test_no_import_points_up() -> None:
    upward = [
        str(found)
        for found in IMPORTS
        if (part := _own_part(found.target)) is not None
        and part != found.importer_part
        and HEIGHTS.get(part, 99) >= HEIGHTS[found.importer_part]
        # Programs may name their version and names; nobody is above them.
        and found.importer_part not in ("__init__", "__main__")
    ]
    assert upward == []


def test_hub_and_client_do_not_know_each_other() -> None:
    pairs = {(found.importer_part, _own_part(found.target)) for found in IMPORTS}
    assert ("hub", "client") not in pairs
    assert ("client", "hub") not in pairs


def test_the_pure_layers_do_no_io_and_know_no_trio() -> None:
    impure = [
        str(found)
        for found in IMPORTS
        if found.importer_part in PURE and found.target.split(".")[0] in IO_MODULES
    ]
    assert impure == []


def test_only_links_touch_sockets() -> None:
    outside = [
        str(found)
        for found in IMPORTS
        if found.importer_part != "links" and found.target.split(".")[0] in ONLY_LINKS
    ]
    assert outside == []


def test_only_stores_touch_the_database() -> None:
    outside = [
        str(found)
        for found in IMPORTS
        if found.importer_part != "stores" and found.target.split(".")[0] in ONLY_STORES
    ]
    assert outside == []


@pytest.mark.parametrize("part", ["hub", "client", "protocol", "wire", "records", "auth", "links"])
def test_below_the_programs_only_stores_open_files(part: str) -> None:
    opened: list[str] = []
    for path in sorted((PACKAGE / part).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("open", "io.open", "os.open", "trio.open_file", "Path.open"):
                    opened.append(f"{path.relative_to(PACKAGE)}:{node.lineno} calls {called}")
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names]
                module = getattr(node, "module", None)
                if {"pathlib", "shutil", "tempfile"} & {module, *names}:
                    opened.append(f"{path.relative_to(PACKAGE)}:{node.lineno} imports {module}")
    assert opened == []


def test_no_private_name_of_another_module_is_imported() -> None:
    stolen: list[str] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                stolen += [
                    f"{path.relative_to(PACKAGE)}:{node.lineno} takes {alias.name} of {node.module}"
                    for alias in node.names
                    if alias.name.startswith("_") and alias.name != "__version__"
                ]
    assert stolen == []
