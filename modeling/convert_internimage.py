"""Weights of the original InternImage under the names of this package.

Source: state dicts of the original's `InternImage`, and of the classifiers of its authors that were
trained on ImageNet.
"""

from .convert_mtp_checkpoint import RenameTable

_LAYER = r"levels\.(\d+)\.blocks\.(\d+)\."

# The downsampling at the end of a level is at the beginning of the next stage here. The last rows
# are the classifiers of ImageNet checkpoints, which the original never loads.
INTERNIMAGE_TABLE: RenameTable = (
    (r"patch_embed\.(conv[12])\.(weight|bias)", r"embeddings.\1.\2"),
    (r"patch_embed\.(norm[12])\.1\.(weight|bias)", r"embeddings.\1.\2"),
    (_LAYER + r"gamma([12])", r"stages.\1.layers.\2.layer_scale\3"),
    (_LAYER + r"(norm[12])\.0\.(weight|bias)", r"stages.\1.layers.\2.\3.\4"),
    (_LAYER + r"dcn\.dw_conv\.0\.(weight|bias)", r"stages.\1.layers.\2.dcn.depthwise_conv.\3"),
    (_LAYER + r"dcn\.dw_conv\.1\.1\.(weight|bias)", r"stages.\1.layers.\2.dcn.depthwise_norm.\3"),
    (
        _LAYER + r"dcn\.(offset|mask|input_proj|output_proj)\.(weight|bias)",
        r"stages.\1.layers.\2.dcn.\3.\4",
    ),
    (_LAYER + r"mlp\.(fc[12])\.(weight|bias)", r"stages.\1.layers.\2.mlp.\3.\4"),
    (r"levels\.(\d+)\.norm\.0\.(weight|bias)", r"stages.\1.norm.\2"),
    (r"levels\.0\.downsample\.conv\.weight", r"stages.1.downsample.conv.weight"),
    (r"levels\.1\.downsample\.conv\.weight", r"stages.2.downsample.conv.weight"),
    (r"levels\.2\.downsample\.conv\.weight", r"stages.3.downsample.conv.weight"),
    (r"levels\.0\.downsample\.norm\.1\.(weight|bias)", r"stages.1.downsample.norm.\1"),
    (r"levels\.1\.downsample\.norm\.1\.(weight|bias)", r"stages.2.downsample.norm.\1"),
    (r"levels\.2\.downsample\.norm\.1\.(weight|bias)", r"stages.3.downsample.norm.\1"),
    (r"(conv_head|head|avgpool|clip_projector|fc_norm|dcnv3_head_x[34])\..*", None),
)
