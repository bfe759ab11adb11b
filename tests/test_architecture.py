"""The rooms of design.md section 5: who may import whom, held by a few lines of ast."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "salt"

ROOMS = {"cli", "callbacks", "loggers", "export", "report", "prepare", "simulate", "training", "models", "tasks",
         "metrics", "nn", "clusters", "sweeps", "optim",
         "data", "types", "layout", "kernels", "ragged"}  # fmt: skip
GROUND = {"types", "layout", "kernels", "ragged"}
MAY_IMPORT = {
    "ragged": set(),
    "kernels": {"ragged"},
    "layout": {"kernels", "ragged"},
    "types": {"layout", "kernels", "ragged"},
    "nn": GROUND,
    "data": GROUND,
    "metrics": GROUND,
    "tasks": {"metrics", "nn", "data", *GROUND},
    "models": {"tasks", "metrics", "nn", "data", *GROUND},
    "training": {"models", "tasks", "metrics", "nn", "data", *GROUND},
    "optim": {"training"},
    "loggers": set(),
    "callbacks": {"training", "models", "tasks", "metrics", "nn", "data", *GROUND},
    "export": {"training", "models", "tasks", "metrics", "nn", "data", *GROUND},
    "prepare": {"data", *GROUND},
    "simulate": set(),
    "report": set(),
    "clusters": {"data", *GROUND},
    "sweeps": {"callbacks", "data", *GROUND},
    "cli": ROOMS,
    "main": {"cli"},
    "__main__": {"cli"},
    "__init__": set(),
}
"""Room -> rooms that it may import, besides itself."""

WITHOUT_TORCH = {"report", "simulate", "clusters", "sweeps"}


def modules(root):
    """Dotted name -> syntax tree."""
    paths = sorted(root.rglob("*.py"))
    return {
        ".".join(path.relative_to(root.parent).with_suffix("").parts): ast.parse(path.read_text()) for path in paths
    }


def imports(name, tree, known):
    """Dotted names that a module imports, wherever in it; modules where they are modules, else what they are in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = name.split(".")[: -node.level] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in known or f"{inner}.__init__" in known else base


def room(name):
    """The room of a module: salt.data.store is in data."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def faults(trees):
    """What breaks the rules, in words."""
    graph = {name: sorted(set(imports(name, tree, trees))) for name, tree in trees.items()}
    for name, targets in graph.items():
        here = room(name)
        if here not in MAY_IMPORT:
            yield f"{name}: room {here} is not in the plan"
            continue
        for target in targets:
            if target.split(".")[0] == "salt":
                there = room(target)
                if there not in MAY_IMPORT[here] | {here, "__init__"}:
                    yield f"{name} imports {target}: {here} may not reach {there}"
                if target == f"salt.{here}" and f"{target}.__init__" in trees and name != f"{target}.__init__":
                    yield f"{name} imports the face of its own folder"
            elif here in WITHOUT_TORCH and target.split(".")[0] in {"torch", "lightning"}:
                yield f"{name} imports {target}: {here} does without torch"
        yield from (f"{name} prints" for node in ast.walk(trees[name]) if is_print(node))
    yield from (f"circle: {' > '.join(path)}" for path in circles(graph))


def is_print(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"


def circles(graph):
    """Paths of modules that come back to where they began; a folder's face counts as a module."""
    edges = {
        name: [target if target in graph else f"{target}.__init__" for target in targets]
        for name, targets in graph.items()
    }
    done = set()

    def visit(name, path):
        if name in path:
            yield [*path[path.index(name) :], name]
        elif name in edges and name not in done:
            for target in edges[name]:
                yield from visit(target, [*path, name])
            done.add(name)

    for name in edges:
        yield from visit(name, [])


def test_the_house_is_as_planned():
    assert list(faults(modules(PACKAGE))) == []


def test_every_room_is_in_the_plan():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or list(path.glob("*.py"))}
    assert rooms <= MAY_IMPORT.keys()


CLEAN = {
    "salt.__init__": "",
    "salt.main": "from salt.cli.main import main",
    "salt.cli.main": "from salt.nn.layers import Dense",
    "salt.data.__init__": "from salt.data.store import Store",
    "salt.data.store": "from salt import __version__\nfrom salt.ragged import Ragged",
    "salt.nn.layers": "import torch\nfrom salt.layout import Layout",
    "salt.layout.__init__": "from salt.layout.packed import Packed",
    "salt.layout.packed": "from salt import kernels",
    "salt.kernels": "from salt.ragged import Ragged",
    "salt.ragged": "import torch",
    "salt.report.plots": "import numpy",
}


def checked(**changes):
    sources = CLEAN | {f"salt.{name.replace('__', '.')}": source for name, source in changes.items()}
    return list(faults({name: ast.parse(source) for name, source in sources.items()}))


def test_the_checker_passes_a_clean_house():
    assert checked() == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"nn__layers": "from salt.cli import main"}, "nn may not reach cli"),
        ({"nn__layers": "from salt.data.store import Store"}, "nn may not reach data"),
        ({"data__store": "import salt.nn.layers"}, "data may not reach nn"),
        ({"data__store": "def f():\n    from salt.models.saltmodel import SaltModel"}, "data may not reach models"),
        ({"data__store": "from ..nn import layers"}, "data may not reach nn"),
        ({"ragged": "from salt.layout import Layout"}, "ragged may not reach layout"),
        ({"report__plots": "import torch"}, "report does without torch"),
        ({"report__plots": "from salt.data.fields import is_valid"}, "report may not reach data"),
        ({"simulate__jets": "from salt.data.fields import is_valid"}, "simulate may not reach data"),
        ({"data__loader": "from salt.data import Store"}, "imports the face of its own folder"),
        ({"data__loader": "print('hello')"}, "salt.data.loader prints"),
        ({"utils__misc": ""}, "room utils is not in the plan"),
        (
            {"data__store": "from salt.data.order import a", "data__order": "from salt.data.store import b"},
            "circle: salt.data.store > salt.data.order > salt.data.store",
        ),
    ],
)
def test_the_checker_finds_a_made_up_fault(changes, fault):
    found = checked(**changes)
    assert any(fault in each for each in found), found
