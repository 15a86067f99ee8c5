"""MTP, the multi-task-pretrained remote-sensing foundation model, for the Hugging Face ecosystem."""

from pathlib import Path

__version__ = "0.1.0"

# In a checkout `modeling/`, `dataset_scripts/` and `training/` are siblings of this folder; an
# installed package has them inside it. Extending the path makes both spell `mtp_hf.modeling`.
_root = Path(__file__).resolve().parent.parent
if (_root / "setup.cfg").is_file() and (_root / "modeling" / "__init__.py").is_file():
    __path__.append(str(_root))
