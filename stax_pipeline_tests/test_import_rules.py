"""The rules about imports hold what they say: a copy of the product that breaks one is told of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from stax_pipeline.installation.homes import CHECKOUT

SETTINGS: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]
CONTRACTS = [one for one in SETTINGS["importlinter"]["contracts"] if one["type"] == "forbidden"]
TOOLS = Path(sys.executable).parent
PRODUCT = CHECKOUT / "stax_pipeline"
ROOMS = sorted({f"stax_pipeline.{module.relative_to(PRODUCT).parts[0].removesuffix('.py')}"
                for module in PRODUCT.glob("*/**/*.py")} | {"stax_pipeline.definitions"})  # fmt: skip


def contract(name: str) -> dict[str, Any]:
    [found] = [one for one in CONTRACTS if one["name"] == name]
    return found


def test_rules_about_every_room_name_every_room() -> None:
    of_the_product = set(ROOMS) - {"stax_pipeline.simulator"}
    assert set(contract("The simulator imports nothing of the product")["forbidden_modules"]) == of_the_product
    starting = contract("Only the command line starts the simulator")
    assert set(starting["source_modules"]) == of_the_product - {"stax_pipeline.cli"}
    speaking = contract("Only the source's client, the alert channels and the app speak HTTP")
    speakers = {f"stax_pipeline.{name}" for name in ("alerts", "anthropic", "app")}
    assert set(speaking["source_modules"]) == of_the_product - speakers
    without_dagster = {
        room for one in CONTRACTS if "dagster" in one["forbidden_modules"] for room in one["source_modules"]
    }
    dagsters = ("app", "assets", "cli", "dagster_instance", "definitions", "resources")
    allowed = {f"stax_pipeline.{name}" for name in dagsters}
    assert without_dagster == set(ROOMS) - allowed


def test_a_product_that_imports_what_each_contract_forbids_breaks_each(tmp_path: Path) -> None:
    """One module a room, which imports everything that some contract forbids the room."""
    shutil.copytree(PRODUCT, tmp_path / "stax_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    pairs = {
        (room, target) for one in CONTRACTS for room in one["source_modules"] for target in one["forbidden_modules"]
    }
    for room in {room for room, _ in pairs} - {"stax_pipeline.definitions"}:
        lines = [f"import {target}\n" for source, target in sorted(pairs) if source == room]
        (tmp_path / room.replace(".", "/") / "breaking.py").write_text("".join(lines))
    told = lint(tmp_path)
    for one in CONTRACTS:
        assert f"{one['name']} BROKEN" in told
        for room in set(one["source_modules"]) - {"stax_pipeline.definitions"}:
            for target in one["forbidden_modules"]:
                assert f"{room} is not allowed to import {target}:" in told


def lint(folder: Path) -> str:
    """What lint-imports says of the product in a folder, its line breaks taken out."""
    ran = subprocess.run(
        [TOOLS / "lint-imports", "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1, ran.stderr
    return " ".join(ran.stdout.split())


def faults(folder: Path, rule: str, name: str, source: str) -> str:
    """What ruff says of a module of that name by the product's own settings."""
    shutil.copy(CHECKOUT / "pyproject.toml", folder)
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
    command = [TOOLS / "ruff", "check", "--no-cache", "--output-format", "concise", "."]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return "\n".join(line for line in ran.stdout.splitlines() if f" {rule} " in line)


def test_a_folder_that_is_no_package_is_named(tmp_path: Path) -> None:
    for name in ("stax_pipeline/new/rules.py", "stax_pipeline_tests/new/test_rules.py"):
        assert f"{name}:1:1:" in faults(tmp_path, "INP001", name, "x = 1\n")
    assert "tools/" not in faults(tmp_path, "INP001", "tools/made.py", "x = 1\n")


@pytest.mark.parametrize("name", sorted(SETTINGS["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]))
def test_what_is_private_to_dagster_may_be_imported_in_internals_alone(tmp_path: Path, name: str) -> None:
    parent, _, last = name.rpartition(".")
    lines = [
        f"import {name}\n",
        f"from {name} import anything\n",
        *([f"from {parent} import {last}\n"] if parent else []),
    ]
    for number, line in enumerate(lines):
        module = f"stax_pipeline/assets/made_{number}.py"
        assert f"{module}:1:" in faults(tmp_path, "TID251", module, line)
    inside = "stax_pipeline/dagster_instance/internals.py"
    assert f"{inside}:" not in faults(tmp_path, "TID251", inside, "".join(lines))


def test_every_private_part_of_the_dagster_that_is_installed_is_banned() -> None:
    import dagster

    [folder] = dagster.__path__
    private = {f"dagster.{path.stem}" for path in Path(folder).glob("_[a-z]*") if path.suffix in {"", ".py"}}
    banned = set(SETTINGS["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"])
    assert private - banned == set()
