"""Rules about the structure that no linter knows."""

import ast
import re
import sys
from pathlib import Path

import pytest
from transformers.dynamic_module_utils import get_imports

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("modeling", "mtp_hf", "dataset_scripts", "training")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
MODELING = sorted((ROOT / "modeling").glob("*.py"))
MAY_IMPORT = {
    "modeling": {"torch", "torchvision", "transformers", "huggingface_hub"},
    "dataset_scripts": {
        "datasets",
        "numpy",
        "PIL",
        "defusedxml",
        "filelock",
        "pycocotools",
        "rasterio",
        "tqdm",
        "yaml",
    },
}
# Converters stay at home, so they may read weight files.
AT_HOME = {"modeling": {"safetensors"}}
# The one file of the data sets that asks a model.
WITH_MODEL = {"_sam_masks.py": {"torch", "transformers"}}
# Only inside `try`, where who loads code from the Hub is not asked for it.
OPTIONAL = {"triton"}


def _imports(path: Path) -> list[str]:
    """Absolute names of everything a file imports; relative ones keep their dots."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append("." * node.level + (node.module or ""))
    return names


def _of_package(name: str) -> list[Path]:
    return [path for path in SOURCES if path.is_relative_to(ROOT / name)]


def test_modeling_is_flat():
    assert [
        p for p in (ROOT / "modeling").iterdir() if p.is_dir() and p.name != "__pycache__"
    ] == []


@pytest.mark.parametrize("path", MODELING, ids=lambda p: p.name)
def test_modeling_files_travel(path):
    for name in _imports(path):
        if name.startswith("."):
            assert re.fullmatch(r"\.\w+", name), f"{name}: only `from .sibling import Name`"
            continue
        top = name.split(".")[0]
        allowed = MAY_IMPORT["modeling"] | sys.stdlib_module_names
        if path.name.startswith("convert_"):
            allowed = allowed | AT_HOME["modeling"]
        if top in OPTIONAL:
            assert top not in get_imports(path), name
            continue
        assert top in allowed, name
    lines = [line.strip() for line in path.read_text().splitlines()]
    code_lines = {
        ast.unparse(n)
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.ImportFrom)
    }
    for line in lines:
        if line.startswith(("from .", "import .")):
            assert any(line.split(" import")[0] in code for code in code_lines), line


def test_dataset_scripts_know_no_model():
    for path in _of_package("dataset_scripts"):
        for name in _imports(path):
            top = name.split(".")[0]
            allowed = MAY_IMPORT["dataset_scripts"] | sys.stdlib_module_names
            allowed = allowed | WITH_MODEL.get(path.name, set())
            own = name.startswith("mtp_hf.dataset_scripts")
            assert own or top in allowed, f"{path.name}: {name}"


def test_arrows_point_one_way():
    for path in _of_package("mtp_hf"):
        if path == ROOT / "mtp_hf" / "__init__.py":
            continue
        for name in _imports(path):
            assert not name.startswith("mtp_hf.training"), f"{path}: {name}"
    scripts = {path.stem for path in _of_package("training") if "def main(" in path.read_text()}
    for path in SOURCES:
        for name in _imports(path):
            assert name not in {f"mtp_hf.training.{script}" for script in scripts}, path


def test_operators_import_only_operators():
    for path in (p for p in MODELING if p.name.startswith("ops_")):
        for name in _imports(path):
            assert not name.startswith(".") or name.startswith(".ops_"), f"{path.name}: {name}"


def test_no_script_shadows_a_library():
    taken = sys.stdlib_module_names | {
        "datasets", "evaluate", "accelerate", "transformers", "timm", "torch", "tokenizers",
        "safetensors",
    }  # fmt: skip
    assert [p.name for p in (ROOT / "training").glob("*.py") if p.stem in taken] == []


def test_files_have_names_that_say_what_they_hold():
    vague = {"utils", "misc", "common", "helpers", "base"}
    assert [path for path in SOURCES if path.stem.strip("_") in vague] == []


def test_files_fit_a_readers_attention():
    limits = {"modeling_vit_rvsa.py": 450, "modeling_internimage.py": 450}
    long = {
        str(path.relative_to(ROOT)): count
        for path in SOURCES
        if (count := len(path.read_text().splitlines())) > limits.get(path.name, 350)
    }
    assert long == {}


def test_no_absolute_path_of_a_machine():
    pattern = re.compile(r"[\"'(]/(home|root|Users|mnt|opt|srv)/")
    files = SOURCES + sorted((ROOT / "training").rglob("*.yaml")) + [ROOT / "README.md"]
    assert [str(path) for path in files if pattern.search(path.read_text())] == []
