"""The README card of a converted checkpoint: where it is from and how to load it."""

from huggingface_hub import ModelCardData
from transformers import PreTrainedConfig

from mtp_hf.conversion.report import ConversionReport
from mtp_hf.hub.card import PAPER, PAPER_URL

# End of a class name -> the Hub's word for its task.
PIPELINE_TAGS = {
    "Backbone": "image-feature-extraction",
    "ForImageClassification": "image-classification",
    "ForObjectDetection": "object-detection",
    "ForSemanticSegmentation": "image-segmentation",
}
USAGE = """\
```python
from PIL import Image
from mtp_hf.modeling import {model}
from transformers import AutoImageProcessor

processor = AutoImageProcessor.from_pretrained("{repo}")
model = {model}.from_pretrained("{repo}").eval()
inputs = processor({images}, return_tensors="pt")
```
"""


def render_card(report: ConversionReport, config: PreTrainedConfig, source: str, repo: str) -> str:
    """Render the card.

    Args:
        report: of the conversion.
        config: of the model.
        source: name of the converted file.
        repo: what its example loads.
    """
    tag = next((t for end, t in PIPELINE_TAGS.items() if report.model.endswith(end)), None)
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=tag,
        tags=["remote-sensing", "aerial", "satellite", "vision"],
    )
    names = list((config.id2label or {}).values()) if tag != PIPELINE_TAGS["Backbone"] else []
    images = 'Image.open("scene.jpg")'
    if report.model.endswith("ForChangeDetection"):
        images = 'Image.open("before.png"), Image.open("after.png")'
    usage = USAGE.format(model=report.model, repo=repo, images=images)
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# {report.family}",
        f"Weights of the original's `{source}` under the names of `{report.model}`; nothing was"
        f" trained. Method: [{PAPER}]({PAPER_URL}). The terms of the original weights and of the"
        " data they were trained on hold.",
        "## Use\n\n" + usage.rstrip(),
        *(["## Classes\n\n" + ", ".join(map(str, names)) + "."] if names else []),
        "## Conversion\n\n```\n" + report.summary() + "\n```",
        "`conversion.json` tells what became of every key;"
        " `mtp-hf convert FOLDER FILE.pth --to-original` leads back.",
    ]
    return "\n\n".join(parts) + "\n"
