"""The house rules of src/rushes, read from its syntax trees, and proof that each rule can fail.

Imports go down in rank; rooms of equal rank do not see each other; only `records` may be imported by all.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .script_names import declared_names

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src"

RANKS = {
    "files": -3,
    **dict.fromkeys(["arrays", "devices", "plugins", "sidefile", "text_reader", "worker_pool"], -2),
    **dict.fromkeys(["trust", "tensor_files", "pages"], -1),
    **dict.fromkeys(["records", "config", "stats", "noise", "objectives", "progress"], 0),
    **dict.fromkeys(["media", "ray_workers"], 1),
    **dict.fromkeys(["store", "world", "metrics"], 2),
    **dict.fromkeys(["formats", "backbones", "edits", "judges"], 3),
    **dict.fromkeys(["footage", "encode", "caption", "curate", "generate", "likeness", "label", "training"], 4),
    "report": 5,
    **dict.fromkeys(["recipes", "evaluate"], 6),
    **dict.fromkeys(["web"], 7),  # shows what the others have written
    **dict.fromkeys(["project"], 8),
    **dict.fromkeys(["export", "inspect", "lab"], 9),
    **dict.fromkeys(["cli"], 10),
    **dict.fromkeys(["__main__"], 11),  # `python -m rushes`
}
NEVER = {  # imports that rank alone would allow
    "backbones": {"store"},
    "edits": {"store"},
    "judges": {"store"},
    "report": {"footage", "encode", "caption", "generate", "likeness", "label", "training"},
    "recipes": {"report"},
    "web": {"backbones", "recipes", "footage", "encode", "caption", "curate", "generate", "likeness", "label"},
}
PROTOCOL, SAMPLING = "rushes.backbones.base", "rushes.backbones.sampling"
STEADY, TILING = "rushes.backbones.first_frame_consistency", "rushes.backbones.tiling"
ONLY = {  # (importer, imported) -> the only modules of the imported room that the importer may name
    ("encode", "backbones"): {PROTOCOL, SAMPLING},
    ("generate", "backbones"): {PROTOCOL, SAMPLING, STEADY, TILING},
    ("training", "backbones"): {PROTOCOL},
    ("report", "curate"): {"rushes.curate.summary"},  # what curation did, which the data card shows
}
PURE = {"noise": {"torch", "numpy"}, "objectives": {"torch", "numpy"}}  # beside the standard library and the room
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}
BANNED_VARIABLES = {"told", "found", "known", "said", "kept", "made", "one", "way", "how", "desk"}  # in any case
STORED_FIELDS = {"rushes.curate.summary": {"kept"}}  # attributes that files are written with
THEIR_SCRIPTS = {"uplot.js"}  # of others
SHARED_CLASSES = {"Options"}  # each recipe's own settings
SHARED_MODULES = {"base"}  # what the other files of its room are built on
MIRRORS = ("rushes.cli.",)  # a group of commands is named after what it is about, as the files below are
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 60
MAX_BY_PLACE = 5  # values that a constructor gets without their names
TORCH_FREE = (
    "records",
    "arrays",
    "files",
    "plugins",
    "progress",
    "ray_workers",
    "sidefile",
    "text_reader",
    "trust",
    "worker_pool",
    "config",
    "stats",
    "store",
    "formats",
    "media",
    "web",
    "report",
    "cli",
)  # rooms
TORCH_FREE_MODULES = {
    "rushes",
    "rushes.backbones.model_defaults",
    "rushes.project",
    "rushes.project.defaults",
    "rushes.project.reports",
    "rushes.project.labels",
    "rushes.project.labeling_page",
    "rushes.project.review_page",
    "rushes.project.studio",
    "rushes.project.judge_audit",
    "rushes.judges.build",
}  # beside those rooms
TORCH_ALLOWED = {"rushes.store.latents"}
DISTRIBUTIONS = {
    "markdown_it": "markdown-it-py",
    "cv2": "opencv-python-headless",
    "huggingface_hub": "huggingface-hub",
    "scenedetect": "scenedetect-headless",
}  # where the import's name is not the distribution's


@dataclass(frozen=True)
class Import:
    """One imported module: a dotted name, and the place it is imported at."""

    module: str
    line: int
    local: bool  # inside a function
    typing_only: bool  # under `if TYPE_CHECKING:`


Sources = dict[str, str]
"""Dotted module name -> source text; a package's own file has the package's name."""


@functools.cache
def tree_of(text: str) -> ast.Module:
    return ast.parse(text)


def read_sources(root: Path) -> Sources:
    names = {path: ".".join(path.relative_to(root).with_suffix("").parts) for path in sorted(root.rglob("*.py"))}
    return {name.removesuffix(".__init__"): path.read_text(encoding="utf-8") for path, name in names.items()}


def read_scripts(root: Path) -> Sources:
    """Scripts of ours by their paths."""
    paths = (path for path in sorted(root.rglob("*.js")) if path.name not in THEIR_SCRIPTS)
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def imports_of(text: str, sources: Sources) -> Iterator[Import]:
    def visit(node: ast.AST, local: bool, typing_only: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, local, typing_only)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                module = f"{base}.{alias.name}"
                yield Import(module if module in sources else base, node.lineno, local, typing_only)
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, local or inside, typing_only or guarded)

    return visit(tree_of(text), local=False, typing_only=False)


def room_of(module: str) -> str:
    """Folder or file directly under the package; "" for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def ours(imported: Import) -> bool:
    return imported.module.split(".")[0] == "rushes"


def rank_violations(sources: Sources) -> Iterator[str]:
    for name, text in sources.items():
        room = room_of(name)
        if room and room not in RANKS:
            yield f"{name}: room {room!r} has no rank: give it one in RANKS"
            continue
        for imported in filter(ours, imports_of(text, sources)):
            other = room_of(imported.module)
            if other in ("", "records", room):
                continue
            if not room:
                if not imported.typing_only:  # its names are loaded when they are used
                    yield f"{name}:{imported.line}: the package itself imports nothing, got {imported.module}"
            elif other not in RANKS or RANKS[other] >= RANKS[room]:
                yield f"{name}:{imported.line}: {room} may not import {imported.module}: its rank is not lower"
            elif other in NEVER.get(room, ()):
                yield f"{name}:{imported.line}: {room} never imports {other}"
            elif imported.module not in ONLY.get((room, other), {imported.module}):
                yield f"{name}:{imported.line}: {room} may not import {imported.module}, only {ONLY[room, other]}"


def purity_violations(sources: Sources) -> Iterator[str]:
    for name, text in sources.items():
        room = room_of(name)
        for imported in imports_of(text, sources) if room in PURE else ():
            top = imported.module.split(".")[0]
            allowed = (
                room_of(imported.module) == room if ours(imported) else top in PURE[room] | sys.stdlib_module_names
            )
            if not allowed:
                yield f"{name}:{imported.line}: {room} stays pure and may not import {imported.module}"


def cycle_violations(sources: Sources) -> Iterator[str]:
    """Modules that need each other, if only for a type: neither can be read without the other."""
    graph = {
        name: {i.module for i in imports_of(text, sources) if i.module in sources and not i.local}
        for name, text in sources.items()
        if room_of(name)  # the package itself loads its names late
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        yield f"import cycle: {' <- '.join(error.args[1])}"


def local_import_violations(sources: Sources) -> Iterator[str]:
    for name, text in sources.items():
        for imported in imports_of(text, sources):
            if imported.module.startswith("."):
                yield f"{name}:{imported.line}: relative import: name the module in full"
            # the command line resolves its commands late, so that --help is quick
            elif imported.local and ours(imported) and room_of(name) != "cli":
                yield f"{name}:{imported.line}: {imported.module} is imported inside a function"


def name_violations(sources: Sources) -> Iterator[str]:
    for name in sources:
        for part in BANNED_NAMES.intersection(name.split(".")):
            yield f"{name}: {part!r} says nothing: name the file after what it holds"


def bound_names(text: str) -> Iterator[tuple[str, int]]:
    """Every name that a module gives to a variable, argument, attribute, function or class, and its line."""
    for node in ast.walk(tree_of(text)):
        if isinstance(node, ast.Name | ast.Attribute):
            if isinstance(node.ctx, ast.Store):
                yield node.id if isinstance(node, ast.Name) else node.attr, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler):
            yield node.name or "", node.lineno
        elif isinstance(node, ast.alias):
            yield node.asname or "", node.lineno


def banned_variable_violations(sources: Sources) -> Iterator[str]:
    for name, text in sources.items():
        for bound, line in bound_names(text):
            if bound.strip("_").lower() in BANNED_VARIABLES - STORED_FIELDS.get(name, set()):
                yield f"{name}:{line}: {bound!r} says nothing: name it after what it holds"


def banned_script_violations(scripts: Sources) -> Iterator[str]:
    """The same of the scripts of pages and reports."""
    for name, text in scripts.items():
        for declared, line in declared_names(text):
            if declared.strip("_").lower() in BANNED_VARIABLES:
                yield f"{name}:{line}: {declared!r} says nothing: name it after what it holds"


def named_types(text: str) -> Iterator[str]:
    """Names of a module's classes and of its type aliases: what a signature may call a value."""
    for node in tree_of(text).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and re.fullmatch(r"_*[A-Z]\w*[a-z]\w*", target.id):
                yield target.id


def repeated_name_violations(sources: Sources) -> Iterator[str]:
    """A class, a type alias or a module whose name another has: a reader who looks for it finds the wrong one."""
    types: dict[str, list[str]] = {}
    modules: dict[str, list[str]] = {}
    packages = {name.rpartition(".")[0] for name in sources}
    for name, text in sources.items():
        if name not in packages and not name.startswith(MIRRORS):
            modules.setdefault(name.rpartition(".")[2], []).append(name)
        for type_name in named_types(text):
            types.setdefault(type_name.lstrip("_"), []).append(name)
    for what, names, allowed in (("type", types, SHARED_CLASSES), ("module", modules, SHARED_MODULES)):
        for name, places in names.items():
            if len(places) > 1 and name not in allowed:
                yield f"{places[0]}: {what} {name!r} is also in {', '.join(places[1:])}: give one of them another name"


def size_violations(sources: Sources) -> Iterator[str]:
    for name, text in sources.items():
        if (lines := len(text.splitlines())) > MAX_FILE_LINES:
            yield f"{name}: {lines} lines, at most {MAX_FILE_LINES}"
        for node in ast.walk(tree_of(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    yield f"{name}:{node.lineno}: {node.name} has {lines} lines, at most {MAX_FUNCTION_LINES}"


def field_counts(sources: Sources) -> dict[str, int]:
    """Fields of every class of ours, inherited ones too; the most where several share a name."""
    own: dict[str, int] = {}
    bases: dict[str, set[str]] = {}
    for text in sources.values():
        for node in ast.walk(tree_of(text)):
            if isinstance(node, ast.ClassDef):
                count = sum(isinstance(statement, ast.AnnAssign) for statement in node.body)
                own[node.name] = max(own.get(node.name, 0), count)
                bases.setdefault(node.name, set()).update(ast.unparse(base).rpartition(".")[2] for base in node.bases)

    def counted(name: str) -> int:
        return own[name] + sum(counted(base) for base in bases[name] if base in own and base != name)

    return {name: counted(name) for name in own}


def calls_of(node: ast.AST, owner: str = "") -> Iterator[tuple[str, ast.Call]]:
    """Every call below a node with the name of what is called; `cls` is the class that it stands in."""
    for child in ast.iter_child_nodes(node):
        yield from calls_of(child, child.name if isinstance(child, ast.ClassDef) else owner)
        if isinstance(child, ast.Call):
            called = ast.unparse(child.func).rpartition(".")[2]
            yield owner if called == "cls" else called, child


def constructor_violations(sources: Sources) -> Iterator[str]:
    """Constructors of ours whose reader must count: many values by place, or a tuple spread over many fields."""
    counts = field_counts(sources)
    for name, text in sources.items():
        for called, node in calls_of(tree_of(text)):
            if called not in counts:
                continue
            spread = any(isinstance(argument, ast.Starred) for argument in node.args)
            if len(node.args) > MAX_BY_PLACE or (spread and counts[called] > MAX_BY_PLACE):
                yield f"{name}:{node.lineno}: {called} gets more than {MAX_BY_PLACE} values by place: give them by name"


def dependency_violations(sources: Sources) -> Iterator[str]:
    known = {"rushes", *sys.stdlib_module_names}
    for name, text in sources.items():
        for imported in imports_of(text, sources):
            top = imported.module.split(".")[0]
            if top and top not in known and DISTRIBUTIONS.get(top, top) not in declared_dependencies():
                yield f"{name}:{imported.line}: {top} is no declared dependency"


@functools.cache
def declared_dependencies() -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = (extra for name, extra in project.get("optional-dependencies", {}).items() if name != "dev")
    return {re.split(r"[^\w-]", text)[0].lower() for group in (project["dependencies"], *extras) for text in group}


def load_failure(modules: list[str], forbidden: str, folder: Path) -> str:
    """Import modules in turn in a fresh interpreter; say which fails, or is first to bring `forbidden` in."""
    script = f"""
import gc, importlib, sys
gc.disable()  # a quarter of the time, and nothing goes away
sys.path.insert(0, {str(folder)!r})
for name in {modules!r}:
    try:
        importlib.import_module(name)
    except Exception as error:
        sys.exit(f"{{name}} does not import: {{error!r}}")
    if {forbidden!r} in sys.modules:
        sys.exit(f"{{name}} imports {forbidden}")
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    return result.stderr if result.returncode else ""


RULES: list[Callable[[Sources], Iterator[str]]] = [
    rank_violations,
    purity_violations,
    cycle_violations,
    local_import_violations,
    name_violations,
    banned_variable_violations,
    repeated_name_violations,
    size_violations,
    constructor_violations,
    dependency_violations,
]


def violations(sources: Sources) -> list[str]:
    return [violation for rule in RULES for violation in rule(sources)]


def test_source_keeps_the_rules() -> None:
    sources = read_sources(SOURCE)
    assert "rushes.records" in sources
    assert violations(sources) == []


def test_scripts_declare_no_banned_names() -> None:
    scripts = read_scripts(SOURCE)
    assert {"rushes/web/pages/label.js", "rushes/report/page.js"} <= {*scripts}
    assert list(banned_script_violations(scripts)) == []


def test_every_module_imports() -> None:
    assert load_failure(list(read_sources(SOURCE)), forbidden="no such module", folder=SOURCE) == ""


def test_laptop_rooms_do_without_torch() -> None:
    names = set(read_sources(SOURCE))
    assert names >= TORCH_FREE_MODULES
    free = {name for name in names if room_of(name) in TORCH_FREE} - TORCH_ALLOWED | TORCH_FREE_MODULES
    assert {"rushes.records", "rushes.config", "rushes.cli"} <= free
    assert load_failure(sorted(free), forbidden="torch", folder=SOURCE) == ""


def test_cli_is_above_all_others() -> None:
    """So the rank rule lets no other room import it."""
    assert [room for room, rank in RANKS.items() if rank >= RANKS["cli"]] == ["cli", "__main__"]


SIX_FIELDS = (
    "class Six:\n" + "".join(f"    {name}: int\n" for name in "abcdef") + "class Two:\n    a: int\n    b: int\n"
)
CLEAN = {
    "rushes": "import typing\nif typing.TYPE_CHECKING:\n    from rushes.store.files import File\n",
    "rushes.config": "from rushes.records import stable_hash\n",
    "rushes.noise": "",
    "rushes.noise.paths": "import math\nimport torch\nfrom rushes.noise import draws\n",
    "rushes.noise.draws": "import numpy as np\n",
    "rushes.store": "",
    "rushes.store.rows": "",
    "rushes.store.files": "from rushes import __version__\nfrom rushes.store.rows import Row\n",
    "rushes.backbones": "",
    "rushes.backbones.base": "import torch\n",
    "rushes.backbones.sampling": "from rushes.backbones.base import Backbone\n",
    "rushes.generate": "from rushes.backbones.base import Backbone\nfrom rushes.backbones.sampling import sample\n",
    "rushes.training.loop": "from rushes.backbones.base import Backbone\n"
    "def run():\n    import torch\n" + "    x = 1\n" * (MAX_FUNCTION_LINES - 2),
    "rushes.project.generation": "import rushes.backbones.tiny\nfrom rushes import generate\n",
    "rushes.cli": "def train():\n    from rushes.project.generation import train_run\n",
    "rushes.stats": "\n" * MAX_FILE_LINES,
    "rushes.edits": "print(found)\nfounder = one_line = 1\n",
    "rushes.records": "import json\n" + SIX_FIELDS + "Six(1, 2, 3, 4, 5, f=6)\nTwo(*pair)\nrange(*[1] * 6)\n",
}


def test_clean_sources_pass() -> None:
    assert violations(CLEAN) == []


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        (
            {"rushes.media.read": "import rushes.store.files"},
            "rushes.media.read:1: media may not import rushes.store.files",
        ),
        ({"rushes.media.read": "from rushes import store"}, "media may not import rushes.store:"),
        ({"rushes.metrics.flow": "from rushes.store import files"}, "metrics may not import rushes.store.files"),
        ({"rushes.stats": "from rushes.config.tables import Settings"}, "stats may not import rushes.config"),
        ({"rushes.web.labeling.labeling_section": "from rushes.label import run"}, "web never imports label"),
        ({"rushes.recipes.sft": "if True:\n    import rushes.cli"}, "recipes may not import rushes.cli"),
        ({"rushes.judges.build": "from rushes.store.files import File"}, "judges never imports store"),
        ({"rushes.training.forward": "import rushes.backbones.tiny"}, "training may not import rushes.backbones.tiny"),
        (
            {"rushes.training.forward": "from rushes.backbones.sampling import sample"},
            "training may not import rushes.backbones.sampling",
        ),
        ({"rushes.training.forward": "from rushes import backbones"}, "training may not import rushes.backbones,"),
        (
            {"rushes.generate": "from rushes.backbones.tiny import load"},
            "generate may not import rushes.backbones.tiny",
        ),
        ({"rushes.encode": "import rushes.backbones.loading"}, "encode may not import rushes.backbones.loading"),
        ({"rushes.recipes.sft": "from rushes.project import generation"}, "recipes may not import rushes.project"),
        ({"rushes.footage": "import rushes.project.project"}, "footage may not import rushes.project.project"),
        ({"rushes.project.generation": "import rushes.cli"}, "project may not import rushes.cli"),
        ({"rushes.evaluate": "from rushes.recipes.sft import times"}, "evaluate may not import rushes.recipes"),
        ({"rushes.tools.thing": ""}, "room 'tools' has no rank"),
        ({"rushes": "from rushes.config.tables import Settings"}, "the package itself imports nothing"),
        (
            {"rushes.objectives.loss_types": "import scipy.stats"},
            "objectives stays pure and may not import scipy.stats",
        ),
        (
            {"rushes.noise.draws": "from rushes.records import Clip"},
            "noise stays pure and may not import rushes.records",
        ),
        ({"rushes.noise.draws": "from rushes.noise.paths import mix"}, "import cycle: "),
        (
            {"rushes.noise.draws": "import typing\nif typing.TYPE_CHECKING:\n    from rushes.noise.paths import mix\n"},
            "import cycle: ",
        ),
        ({"rushes.label": "def run():\n    from rushes.stats import wilson"}, "imported inside a function"),
        ({"rushes.store.files": "from .rows import Row"}, "rushes.store.files:1: relative import"),
        ({"rushes.media.utils": ""}, "'utils' says nothing"),
        ({"rushes.label": "found = [1]"}, "rushes.label:1: 'found' says nothing"),
        ({"rushes.label": "def f(clip, *, known): ..."}, "'known' says nothing"),
        ({"rushes.label": "class C:\n    kept: int = 0"}, "rushes.label:2: 'kept' says nothing"),
        ({"rushes.label": "def f(self):\n    self._made = 1"}, "rushes.label:2: '_made' says nothing"),
        ({"rushes.label": "x = [y for one in () for y in one]"}, "'one' says nothing"),
        ({"rushes.label": "def _told(): ..."}, "'_told' says nothing"),
        ({"rushes.curate.summary": "kept = said = 0"}, "'said' says nothing"),
        ({"rushes.label": "import math as found"}, "'found' says nothing"),
        ({"rushes.label": "class Kept: ..."}, "'Kept' says nothing"),
        ({"rushes.stats": "class A: ...", "rushes.label": "class A: ..."}, "type 'A' is also in rushes.label"),
        ({"rushes.stats": "class Ab: ...", "rushes.label": "Ab = str"}, "type 'Ab' is also in rushes.label"),
        ({"rushes.stats": "class Ab: ...", "rushes.label": "class _Ab: ..."}, "type 'Ab' is also in rushes.label"),
        ({"rushes.stats": "Ab = int\nAB = 1", "rushes.label": "Ab: Any = str\nAB = 2"}, "'Ab' is also in rushes.label"),
        ({"rushes.world": "", "rushes.world.rows": ""}, "module 'rows' is also in rushes.world.rows"),
        ({"rushes.stats": "\n" * (MAX_FILE_LINES + 1)}, f"{MAX_FILE_LINES + 1} lines"),
        (
            {"rushes.stats": "async def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES},
            f"f has {MAX_FUNCTION_LINES + 1} lines",
        ),
        ({"rushes.label": "Six(1, 2, 3, 4, 5, 6)"}, "rushes.label:1: Six gets more than 5 values by place"),
        ({"rushes.label": "records.Six(1, *rest)"}, "rushes.label:1: Six gets more than 5 values by place"),
        ({"rushes.label": "class Seven(Six):\n    g: int\nSeven(*rest)"}, "rushes.label:3: Seven gets more than 5"),
        (
            {"rushes.label": "class Own(Six):\n    @classmethod\n    def read(cls, row):\n        return cls(*row)"},
            "rushes.label:4: Own gets more than 5",
        ),
        ({"rushes.media.read": "import torchvision"}, "torchvision is no declared dependency"),
    ],
    ids=str,
)
def test_planted_violation_is_caught(planted: Sources, expected: str) -> None:
    found = violations(CLEAN | planted)
    assert len(found) == 1 and expected in found[0]


CLEAN_SCRIPT = r"""
// const found = `it's`; a comment of one name
const SECTION = "let one = 1", API = `/api/${SECTION}`, { kept: rows = 1, ...rest } = /[/"]one =>/.exec(text);
function send(body, { said: answer = {} } = {}) { return /* how => */ answer.said.map((row) => row.made); }
for (const [at, row] of rows) if (at) found(row), { made: 1 };
"""


def test_declarations_of_a_script_are_read() -> None:
    names = [*declared_names(CLEAN_SCRIPT)]
    assert names == [
        *(("SECTION", 3), ("API", 3), ("rows", 3), ("rest", 3), ("at", 5), ("row", 5)),
        *(("send", 4), ("body", 4), ("answer", 4), ("row", 4)),
    ]


@pytest.mark.parametrize(
    ("planted", "line", "name"),
    [
        ("const found = 1;", 1, "found"),
        ("let a = f(1, [2]),\n  One = 2;", 1, "One"),
        ("for (const known of rows) {}", 1, "known"),
        ("const { a, b: { c: [kept] } } = d;", 1, "kept"),
        ("function told() {}", 1, "told"),
        ("\nfunction f(a = [1, 2], { b, said = 1 } = {}) {}", 2, "said"),
        ("rows.map((one) => one.x)", 1, "one"),
        ("rows.map(one => one.x)", 1, "one"),
        ("const f = async (a, ...made) => {}", 1, "made"),
        ("`${rows.map((one) => one.x)}`", 1, "one"),
        ("class A {\n  change(how) {\n    return how;\n  }\n}", 2, "how"),
        ("class A {\n  way(b) { return b; }\n}", 2, "way"),
        ("class Kept {}", 1, "Kept"),
        ("class A {\n  constructor() { this.desk = 1; }\n}", 2, "desk"),
    ],
)
def test_planted_name_in_a_script_is_caught(planted: str, line: int, name: str) -> None:
    (violation,) = banned_script_violations({"x.js": CLEAN_SCRIPT + planted})
    assert violation.startswith(f"x.js:{line + 5}: {name!r} says nothing")


def test_planted_failing_or_heavy_module_is_caught(tmp_path: Path) -> None:
    (tmp_path / "heavy.py").write_text("import colorsys\n")
    (tmp_path / "light.py").write_text("def late():\n    import colorsys\n")
    (tmp_path / "broken.py").write_text("from json import no_such_name\n")
    assert load_failure(["light"], "colorsys", tmp_path) == ""
    assert "heavy imports colorsys" in load_failure(["light", "heavy"], "colorsys", tmp_path)
    assert "no_such_name" in load_failure(["broken"], "colorsys", tmp_path)


def drawn(sources: Sources) -> Iterator[str]:
    """The import graph, a room a line, highest rank first: its lines, and the rooms that it imports."""
    lines: dict[str, int] = {}
    arrows: dict[str, set[str]] = {}
    for name, text in sources.items():
        room = room_of(name)
        lines[room] = lines.get(room, 0) + len(text.splitlines())
        arrows.setdefault(room, set()).update(room_of(each.module) for each in imports_of(text, sources) if ours(each))
    for room in sorted(filter(None, lines), key=lambda room: (-RANKS[room], room)):
        below = sorted(arrows[room] - {room, ""})
        yield f"{RANKS[room]:2} {room} ({lines[room]} lines) -> {', '.join(below) or 'nothing'}"


if __name__ == "__main__":  # python -m tests.test_architecture
    print("\n".join(drawn(read_sources(SOURCE))))
