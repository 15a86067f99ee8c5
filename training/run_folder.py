"""The output folder of a run: where each thing lies, and when it may be written to.

recipe.yaml  log.jsonl  metrics.json  losses.png  predictions_{ss,is,rd}.png
checkpoints/step_0000100/  encoder/  model/
"""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

# Everything that a run writes; only this is removed by --overwrite.
CONTENTS = (
    "recipe.yaml",
    "log.jsonl",
    "metrics.json",
    "losses.png",
    "predictions_ss.png",
    "predictions_is.png",
    "predictions_rd.png",
    "tracker",
    "checkpoints",
    "encoder",
    "model",
)


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths of a run."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def log(self) -> Path:
        """Losses and metrics along the run, one JSON object a line."""
        return self.path / "log.jsonl"

    @property
    def metrics(self) -> Path:
        """Metrics before and after training."""
        return self.path / "metrics.json"

    @property
    def losses(self) -> Path:
        """The picture of the losses."""
        return self.path / "losses.png"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def tracker(self) -> Path:
        """Folder of Accelerate's tracker."""
        return self.path / "tracker"

    def check(self, *, is_resumed: bool, overwrite: bool) -> None:
        """Refuse a folder in which something would be lost.

        Raises:
            ValueError: it holds another run or files that no run wrote, or nothing to resume.
        """
        found = sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path} is a file, not a folder")
        if is_resumed and not self.recipe.is_file():
            raise ValueError(f"nothing to resume: {self.path} holds no run")
        if is_resumed or not found:
            return
        if not self.recipe.is_file():
            raise ValueError(f"{self.path} holds files of something else ({', '.join(found[:5])})")
        if not overwrite:
            raise ValueError(
                f"{self.path} holds a run already: go on with --resume latest, start again with"
                " --overwrite, or choose another --output"
            )

    def clear(self) -> None:
        """Remove what an earlier run wrote here."""
        for name in CONTENTS:
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def read_metrics(self) -> dict[str, Any]:
        """Read what was measured so far; empty for a new run."""
        if not self.metrics.is_file():
            return {}
        return json.loads(self.metrics.read_text(encoding="utf-8"))

    def write_metrics(self, **values: Any) -> None:
        """Add values to `metrics.json`."""
        text = json.dumps(self.read_metrics() | values, indent=2)
        temporary = self.metrics.with_suffix(".tmp")
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(self.metrics)

    def list_written(self) -> list[Path]:
        """List what lies in the folder, for the end of the run."""
        return [self.path / name for name in CONTENTS if (self.path / name).exists()]
