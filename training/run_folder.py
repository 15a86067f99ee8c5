"""The output folder of a run: where each thing lies, and when it may be written to.

recipe.yaml  log.jsonl  metrics.json  losses.png  predictions_{ss,is,rd}.png  (pretraining)
predictions.png  confusion.png  curves.png  (finetuning)
checkpoints/step_0000100/  encoder/  model/  best/  hub_snapshot/
"""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mtp_hf.training.durable_files import temporary_name, write_durably
from mtp_hf.training.strict_json import strict_json

# Everything that a run writes; only this is removed by --overwrite.
CONTENTS = (
    "log.jsonl",
    "metrics.json",
    "losses.png",
    "predictions_ss.png",
    "predictions_is.png",
    "predictions_rd.png",
    "predictions.png",
    "confusion.png",
    "curves.png",
    "tracker",
    "checkpoints",
    "encoder",
    "model",
    "best",
    "hub_snapshot",
    "recipe.yaml",  # goes last: it tells that the rest is a run's
)


def check_is_no_run(key: str, name: str | None, parts: Iterable[str]) -> None:
    """Check that who names a model does not name the whole run that has it.

    Args:
        key: of the recipe, for the message.
        name: path, Hub id or None.
        parts: folders of a run that may be meant.

    Raises:
        ValueError: it is the folder of a run.
    """
    folder = Path(name or ".").expanduser()
    if not name or (folder / "config.json").is_file():
        return
    meant = [str(folder / each) for each in parts if (folder / each / "config.json").is_file()]
    if meant:
        raise ValueError(f"{key}={name} is a whole run: name {' or '.join(meant)}")


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

    @property
    def hub_snapshot(self) -> Path:
        """Folder with the `encoder` and `model` of a push along the way."""
        return self.path / "hub_snapshot"

    def check(self, *, is_resumed: bool, overwrite: bool) -> None:
        """Refuse a folder in which something would be lost.

        Raises:
            ValueError: it holds another run or files that no run wrote, or nothing to resume.
        """
        found = sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path} is a file, not a folder")
        if is_resumed and not self.recipe.is_file():
            raise ValueError(
                f"nothing to resume: {self.path} holds no run (no {self.recipe.name}); name the"
                " folder of the run with --output"
            )
        if is_resumed or not found:
            return
        if not self.recipe.is_file():
            raise ValueError(f"{self.path} holds files of something else ({', '.join(found[:5])})")
        if not overwrite:
            raise ValueError(
                f"{self.path} holds a run already: go on with --resume latest, start again with"
                " --overwrite, or choose another --output"
            )

    def create(self) -> None:
        """Make the folder, if need be, and try to write into it.

        Raises:
            ValueError: that fails, with the reason.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(b"a byte, for a full disk takes empty files")
        except OSError as error:
            raise ValueError(f"cannot write into the output folder {self.path}: {error}") from None

    def clear(self) -> None:
        """Remove what an earlier run wrote here."""
        for name in CONTENTS:
            path = self.path / name
            temporary_name(path).unlink(missing_ok=True)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def read_metrics(self) -> dict[str, Any]:
        """Read what was measured so far; empty for a new run."""
        if not self.metrics.is_file():
            return {}
        try:
            return json.loads(self.metrics.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{self.metrics}: not JSON: {error}") from None

    def write_metrics(self, **values: Any) -> None:
        """Add values to `metrics.json`, undefined ones as null."""
        write_durably(self.metrics, strict_json(self.read_metrics() | values, indent=2) + "\n")

    def list_written(self) -> list[Path]:
        """List what lies in the folder, for the end of the run."""
        return [self.path / name for name in CONTENTS if (self.path / name).exists()]
