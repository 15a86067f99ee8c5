"""Converted folders load where this package is not installed, whatever their backbone is."""

import torch

from mtp_hf.conversion.folder import convert_checkpoint
from tests.conversion.tiny_originals import tiny_original
from tests.without_package import run_without_package

# Folder -> Auto class; the nested configs are those of both backbones.
AUTO_CLASSES = {
    "internimage_classifier": "AutoModelForImageClassification",
    "oriented_rcnn": "AutoModel",
    "upernet": "AutoModelForSemanticSegmentation",
}
REMOTE = """
import transformers
for pair in sys.argv[1:]:
    folder, auto = pair.split(":")
    trusted = {"trust_remote_code": True}
    transformers.AutoImageProcessor.from_pretrained(folder, **trusted)
    model = getattr(transformers, auto).from_pretrained(folder, **trusted)
    print("loaded", type(model).__name__)
"""


def test_converted_folders_load_without_the_package(tmp_path, monkeypatch):
    for name in AUTO_CLASSES:
        torch.save({"state_dict": tiny_original(name)}, tmp_path / "x.pth")
        convert_checkpoint(tmp_path / "x.pth", tmp_path / name)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # One process for each folder: code of another folder must not help.
    for name, auto in AUTO_CLASSES.items():
        printed = run_without_package(REMOTE, f"{tmp_path / name}:{auto}", folder=tmp_path)
        assert "loaded" in printed
