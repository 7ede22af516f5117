"""The rules of the house: imports point down, nothing unsafe stands anywhere, files stay short."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("laneb/**/*.py"), *ROOT.glob("laneb_assets/**/*.py")])
FLOORS = {
    "laneb_assets": 8,
    "laneb.report": 7,
    "laneb.planning": 6,
    "laneb.decision": 5,
    "laneb.plan": 5,
    "laneb.wanted": 5,
    "laneb.baseline_results": 5,
    "laneb.schema_rows": 5,
    "laneb.inference": 4,
    "laneb.engines": 4,
    "laneb.statistics": 3,
    "laneb.training": 3,
    "laneb.model": 2,
    "laneb.corpus": 2,
    "laneb.storage": 2,
    "laneb": 1,
}


def floor(module: str) -> int:
    parts = module.split(".")
    return next(FLOORS[name] for end in (2, 1) if (name := ".".join(parts[:end])) in FLOORS)


def imports_of(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return names + [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for name in imports_of(path):
        top = name.partition(".")[0]
        if top in ("laneb", "laneb_assets"):
            assert floor(name) <= floor(module), f"{module} imports {name}, which lies above it"
        if top == "dagster":
            assert module.startswith("laneb_assets"), f"{module} imports dagster"
            private = any(part.startswith("_") for part in name.split("."))
            assert not private or module == "laneb_assets.dagster_internals", f"{module} imports {name}"


def test_tests_and_benchmarks_use_nothing_private_of_dagster() -> None:
    private = re.compile(r"^\s*(from|import) dagster\._", re.MULTILINE)
    files = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]
    assert [str(path) for path in files if private.search(path.read_text(encoding="utf-8"))] == []


LAZY = [path for path in SOURCES if path.name == "__init__.py" and "_HOMES = {" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", LAZY, ids=lambda path: path.parent.name)
def test_a_package_that_imports_late_names_the_same_things_for_people_for_types_and_for_itself(path: Path) -> None:
    tree, package = ast.parse(path.read_text(encoding="utf-8")), ".".join(path.parent.relative_to(ROOT).parts)
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    typed = {
        alias.name: node.module.removeprefix(f"{package}.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{package}.")
        for alias in node.names
    }
    assert values["_HOMES"] == typed
    assert sorted(values["__all__"]) == sorted(typed)
    for name, home in typed.items():
        assert re.search(rf"^(def |class )?{name}\b", (path.parent / f"{home}.py").read_text(encoding="utf-8"), re.M)


def test_only_the_settings_read_the_environment_of_the_person() -> None:
    readers = [
        path
        for path in SOURCES
        if re.search(r"LANE_B_\w+\"\]|environ\.get\(\"LANE_B", path.read_text(encoding="utf-8"))
    ]
    assert {path.name for path in readers} <= {"settings.py"}


@pytest.mark.parametrize("unsafe", ["pickle", "eval(", "exec(", "os.system", "shell=True"])
def test_nothing_unsafe_stands_in_the_sources(unsafe: str) -> None:
    assert [str(path) for path in SOURCES if unsafe in path.read_text(encoding="utf-8")] == []


def test_checkpoints_load_weights_only() -> None:
    calls = [
        (path, node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    assert calls
    for path, call in calls:
        assert any(word.arg == "weights_only" and ast.unparse(word.value) == "True" for word in call.keywords), path


def test_files_stay_under_400_lines() -> None:
    assert [str(path) for path in SOURCES if len(path.read_text(encoding="utf-8").splitlines()) > 400] == []


def test_importing_the_library_imports_nothing_heavy() -> None:
    code = (
        "import sys, laneb, laneb.settings, laneb.statistics, laneb.inference, laneb.decision; "
        "heavy = {'torch', 'scipy', 'pandas', 'numba', 'dagster', 'optuna'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
