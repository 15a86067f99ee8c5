"""Memory of full attention grows with the tokens, not with their square."""

import torch
from torch.profiler import ProfilerActivity, profile

from mtp_hf.modeling import modeling_vit_rvsa
from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.modeling_vit_rvsa import FullAttention


def _peak_bytes(attention, side):
    """Largest sum of live tensors that a pass over side x side tokens allocates."""
    tokens = torch.randn(1, side**2, attention.qkv.in_features)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        attention(tokens, (side, side))
    live, peak = 0, 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


def test_four_times_the_tokens_need_about_four_times_the_memory(monkeypatch):
    config = ViTRVSAConfig(
        hidden_size=64, num_hidden_layers=4, num_attention_heads=2, image_size=512
    )
    config._attn_implementation = "sdpa"
    attention = FullAttention(config).eval()
    # The largest bias at once is a constant; here as small as a row of the larger grid.
    monkeypatch.setitem(modeling_vit_rvsa.MAX_BIAS_ELEMENTS, "cpu", 2 * 64 * 64**2)
    small, large = _peak_bytes(attention, 32), _peak_bytes(attention, 64)
    logits = 4 * 2 * 64**4  # bytes of one float for each head and pair of tokens
    assert large < 4.2 * small
    assert large < logits / 4
