"""What the card tests tell about a run."""

from mtp_hf.hub.card import RunFacts, SourceFacts

FACTS = RunFacts(
    name="pretrain/demo",
    about="A network for a test.",
    backbone="ViT-tiny + RVSA, trained at 112 px",
    steps=12_000,
    planned_steps=12_000,
    is_demo=True,
    sources=[
        SourceFacts("sior", "sior", ("ss", "is", "rd"), 20, 240, 40),
        SourceFacts("sota", "sota", ("ss", "is"), 18, 1_000, 40),
    ],
    recipe_yaml="seed: 1\noptimizer:\n  lr: 0.001\n",
    before={"sior/ss/miou": 0.01, "pooled/ss/miou": 0.02},
    after={
        "sior/ss/miou": 0.5,
        "sior/is/box_ap50": 0.61234,
        "sior/is/mask_ap50": float("nan"),
        "sota/ss/miou": 0.25,
        "pooled/ss/miou": 0.4,
    },
    versions={"torch": "2.15.0"},
    pictures={"Losses": "losses.png"},
)
