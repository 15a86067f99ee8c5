"""Where the time of a training step goes: seconds of its parts, told apart while it runs.

Losses and the assignment of objects are functions inside the forward pass of the heads; they are
timed by wrapping them for as long as a step is watched.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from torch import nn

from mtp_hf.modeling import head_mask
from mtp_hf.modeling.head_box import BoxHead
from mtp_hf.modeling.head_mask import MaskHead
from mtp_hf.modeling.head_rpn import RPNHead
from mtp_hf.modeling.head_upernet import SegmentationClassifier
from mtp_hf.modeling.ops_masks import mask_targets

# What runs inside the forward pass of the heads, without that of the next entry.
ASSIGNMENT: tuple[tuple[Any, str], ...] = (
    (RPNHead, "propose"),
    (RPNHead, "_sample_anchors"),
    (BoxHead, "sample"),
    (head_mask, "mask_targets"),
)
LOSSES: tuple[tuple[Any, str], ...] = (
    *((head, "loss") for head in (RPNHead, BoxHead, MaskHead, SegmentationClassifier)),
    (nn.functional, "cross_entropy"),  # the whole loss of scenes
)


class Split:
    """Seconds of the parts of a step; a part inside another one counts only for itself."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.num_mask_regions = 0
        self._open: list[float] = []  # seconds spent in inner parts, of each open part

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time inside the block."""
        started = time.perf_counter()
        self._open.append(0.0)
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.add(name, spent - self._open.pop())
            if self._open:
                self._open[-1] += spent

    def add(self, name: str, seconds: float) -> None:
        """Add to a part."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @contextlib.contextmanager
    def watch(self, model: Any, heads: str) -> Iterator[None]:
        """Count the parts of the forward and backward pass inside the block.

        Args:
            model: its backbone may run more than once.
            heads: what the parts behind the backbone are called.
        """
        marks: dict[str, float] = {}
        before = sum(self.seconds.values())

        def backbone_starts(module: nn.Module, inputs: Any) -> None:
            marks["backbone"] = time.perf_counter()

        def backbone_done(module: nn.Module, inputs: Any, output: Any) -> None:
            self.add("backbone, forward", time.perf_counter() - marks["backbone"])
            for level in output.get("feature_maps", None) or (output.last_hidden_state,):
                # The last of the maps to get its gradient starts the backbone's backward pass.
                level.register_hook(lambda _: marks.update(maps=time.perf_counter()))

        def model_done(module: nn.Module, inputs: Any, output: Any) -> None:
            marks["forward"] = time.perf_counter()

        with contextlib.ExitStack() as stack:
            for functions, name in ((LOSSES, "losses"), (ASSIGNMENT, "assignment")):
                for owner, attribute in functions:
                    timed = self._timed(getattr(owner, attribute), name)
                    stack.enter_context(mock.patch.object(owner, attribute, timed))
            for hook in (
                model.backbone.register_forward_pre_hook(backbone_starts),
                model.backbone.register_forward_hook(backbone_done),
                model.register_forward_hook(model_done),
            ):
                stack.callback(hook.remove)
            started = time.perf_counter()
            yield
        end = time.perf_counter()
        inner = sum(self.seconds.values()) - before
        self.add(f"{heads}, forward", marks["forward"] - started - inner)
        self.add(f"{heads} and losses, backward", marks["maps"] - marks["forward"])
        self.add("backbone, backward", end - marks["maps"])

    def _timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Wrap a function or method so that its time counts for a part."""

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.part(name):
                result = function(*arguments, **options)
            if function is mask_targets:
                self.num_mask_regions += len(result)
            return result

        return timed
