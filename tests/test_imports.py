"""Who may import whom: the packages meet in files, not in each other's code."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from finetune.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
OURS = {"common", "pretrain", "finetune", "serve", "benchmarks", "tests"}
ALLOWED = {
    "common": {"common"},
    "pretrain": {"pretrain", "common"},
    "finetune": {"finetune", "common"},
    "serve": {"serve"},
}
# What the service's image holds; beside it torch or onnxruntime, each imported by one file.
NEEDED_BY_SERVE = {"numpy", "soundfile", "fastapi", "starlette", "uvicorn", "prometheus_client", "pydantic", "pydantic_settings"}
NEEDED_BY_PAGE = {"streamlit", "httpx", "jinja2", "matplotlib", "numpy", "soundfile", "pydantic"}


def imported_packages(file: Path) -> set[str]:
    packages = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where a name comes from"
            packages.add((node.module or "").split(".")[0])
    return packages


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_it_may_know(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        wrong = imported_packages(file) & OURS - ALLOWED[package]
        assert not wrong, f"{file.relative_to(ROOT)} imports {sorted(wrong)}"


def our_modules() -> dict[str, Path]:
    """Name -> file of every module of our packages."""
    files = [file.relative_to(ROOT) for package in ALLOWED for file in (ROOT / package).rglob("*.py")]
    return {".".join(file.with_suffix("").parts).removesuffix(".__init__"): ROOT / file for file in files}


def imported_modules(file: Path, modules: Iterable[str]) -> set[str]:
    """Those of ``modules`` that ``file`` imports, at its top or within a function; not what only a type checker imports."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            pending += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & set(modules)) or {str(node.module)}
    return found & set(modules)


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, or next to one; empty where there is none."""
    left = dict(imports)
    while free := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def test_no_modules_import_each_other_not_even_late() -> None:
    modules = our_modules()
    assert "finetune.folds.table" in modules
    assert not circle({name: imported_modules(file, modules) for name, file in modules.items()})


# What judges a run or divides patients starts two seconds earlier without it.
STARTS_WITHOUT_LIGHTNING = ("report", "compare", "predict", "folds", "guard", "ensemble", "score-events")


@pytest.mark.parametrize("command", STARTS_WITHOUT_LIGHTNING)
def test_a_command_that_trains_nothing_does_not_import_lightning(command: str) -> None:
    modules, needed = our_modules(), set[str]()
    pending = {COMMANDS[command].target.partition(":")[0]}
    while pending:
        needed |= pending
        pending = {name for module in pending for name in imported_modules(modules[module], modules)} - needed
    assert len(needed) > 10
    assert not [name for name in needed if "pytorch_lightning" in imported_packages(modules[name])]


def test_a_circle_would_be_found(tmp_path: Path) -> None:
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("from package import other\n", encoding="utf-8")
    other.write_text("def late():\n    from package.one import thing\n", encoding="utf-8")
    files = {"package.one": one, "package.other": other}
    assert circle({name: imported_modules(file, files) for name, file in files.items()}) == ["package.one", "package.other"]


def test_serve_needs_nothing_but_what_its_image_holds() -> None:
    for file in (ROOT / "serve").glob("*.py"):
        own = {"torch_engine.py": {"torch"}, "onnx_engine.py": {"onnxruntime"}}.get(file.name, set())
        foreign = imported_packages(file) - sys.stdlib_module_names - {"serve"} - NEEDED_BY_SERVE - own
        assert not foreign, f"{file.relative_to(ROOT)} imports {sorted(foreign)}"


def test_the_page_needs_nothing_but_what_its_image_holds() -> None:
    modules = our_modules()
    # What of the service the page's files import, directly or through others.
    needed, pending = set[str](), [name for name in modules if name.startswith("serve.page")]
    while pending:
        needed.add(name := pending.pop())
        pending += imported_modules(modules[name], modules) - needed
    assert "serve.schemas" in needed and "serve.app" not in needed
    for name in needed:
        foreign = imported_packages(modules[name]) - sys.stdlib_module_names - {"serve"} - NEEDED_BY_PAGE
        assert not foreign, f"{name} imports {sorted(foreign)}"


def test_the_service_does_not_import_the_page() -> None:
    modules = our_modules()
    for file in (ROOT / "serve").glob("*.py"):
        assert not [name for name in imported_modules(file, modules) if name.startswith("serve.page")], file.name


@pytest.mark.parametrize("name", ["report", "hostile"])
def test_a_benchmark_starts_by_its_path_too(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--help"]
    without = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=without, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "usage" in done.stdout, done.stderr


def test_there_is_no_utils_module() -> None:
    names = [file for package in ALLOWED for file in (ROOT / package).rglob("util*.py")]
    assert not names


def test_a_forbidden_import_would_be_found(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text("def late():\n    from finetune.folds.command import folds\n", encoding="utf-8")
    assert "finetune" in imported_packages(file)
