"""What is known about each data set beside its files: task, terms, source, paper, counts.

One home for these facts; listings, cards and checks read them here. None of the terms lets this
project ship the pictures. `counts` holds what the authors publish, or what the published runs
show, and only where it is known for a split.

Source: papers and pages of the data sets; counts of the runs of MTP (Wang et al. 2024).
"""

from dataclasses import dataclass, field

TASK_CATEGORIES = {
    "scene classification": ("image-classification",),
    "object detection": ("object-detection",),
    "object detection, horizontal or oriented": ("object-detection",),
    "oriented object detection": ("object-detection",),
    "semantic segmentation": ("image-segmentation",),
    "change detection": ("image-segmentation",),
    "semantic and instance segmentation, oriented object detection": (
        "image-segmentation",
        "object-detection",
    ),
}


@dataclass(frozen=True)
class Paper:
    """A paper to cite."""

    key: str
    authors: str
    title: str
    venue: str
    year: int

    def bibtex(self) -> str:
        """Entry for a bibliography."""
        return (
            f"@misc{{{self.key},\n  author = {{{self.authors}}},\n  title = {{{self.title}}},\n"
            f"  howpublished = {{{self.venue}}},\n  year = {{{self.year}}}\n}}"
        )


@dataclass(frozen=True)
class SetFacts:
    """Facts of one data set.

    Attributes:
        license: identifier of the Hub; `other` stands for terms of its own.
        terms: what the authors allow, in a line.
        homepage: where people download it.
        counts: published images of each split, by config.
    """

    title: str
    task: str
    license: str
    terms: str
    homepage: str
    papers: tuple[Paper, ...]
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def task_categories(self) -> tuple[str, ...]:
        """Names of the tasks on the Hub."""
        return TASK_CATEGORIES[self.task]

    @property
    def citation(self) -> str:
        """Bibliography entries of all papers."""
        return "\n\n".join(paper.bibtex() for paper in self.papers)


DOTA_TERMS = "academic use only, no commercial use; pictures under the terms of Google Earth"
DIOR_COUNTS = {"train": 5862, "validation": 5863, "test": 11738}
DOTA_PAPERS = (
    Paper(
        "xia2018dota",
        "Xia, Gui-Song and Bai, Xiang and Ding, Jian and Zhu, Zhen and Belongie, Serge and "
        "Luo, Jiebo and Datcu, Mihai and Pelillo, Marcello and Zhang, Liangpei",
        "DOTA: A Large-Scale Dataset for Object Detection in Aerial Images",
        "CVPR",
        2018,
    ),
    Paper(
        "ding2021dota2",
        "Ding, Jian and Xue, Nan and Xia, Gui-Song and Bai, Xiang and Yang, Wen and others",
        "Object Detection in Aerial Images: A Large-Scale Benchmark and Challenges",
        "IEEE Transactions on Pattern Analysis and Machine Intelligence",
        2021,
    ),
)

# Builder -> facts.
FACTS: dict[str, SetFacts] = {
    "samrs": SetFacts(
        "SAMRS",
        "semantic and instance segmentation, oriented object detection",
        "other",
        "research only; the terms of DOTA, DIOR and FAIR1M hold as well",
        "https://github.com/ViTAE-Transformer/SAMRS",
        (
            Paper(
                "wang2023samrs",
                "Wang, Di and Zhang, Jing and Du, Bo and Xu, Minqiang and Liu, Lin and "
                "Tao, Dacheng and Zhang, Liangpei",
                "SAMRS: Scaling-up Remote Sensing Segmentation Dataset with Segment Anything Model",
                "NeurIPS Datasets and Benchmarks",
                2023,
            ),
        ),
    ),
    "eurosat": SetFacts(
        "EuroSAT",
        "scene classification",
        "mit",
        "MIT; Sentinel-2 data are free and open",
        "https://github.com/phelber/EuroSAT",
        (
            Paper(
                "helber2019eurosat",
                "Helber, Patrick and Bischke, Benjamin and Dengel, Andreas and Borth, Damian",
                "EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land Cover "
                "Classification",
                "IEEE Journal of Selected Topics in Applied Earth Observations and Remote Sensing",
                2019,
            ),
        ),
        dict.fromkeys(("rgb", "all_bands"), {"train": 16200, "validation": 5400, "test": 5400}),
    ),
    "resisc45": SetFacts(
        "NWPU-RESISC45",
        "scene classification",
        "other",
        "none stated by the authors; research use",
        "https://gcheng-nwpu.github.io",
        (
            Paper(
                "cheng2017resisc",
                "Cheng, Gong and Han, Junwei and Lu, Xiaoqiang",
                "Remote Sensing Image Scene Classification: Benchmark and State of the Art",
                "Proceedings of the IEEE",
                2017,
            ),
        ),
        {
            "split_20_80": {"train": 6300, "test": 25200},
            "in_domain": {"train": 18900, "validation": 6300, "test": 6300},
        },
    ),
    "xview": SetFacts(
        "xView",
        "object detection",
        "cc-by-nc-sa-4.0",
        "CC BY-NC-SA 4.0",
        "https://xviewdataset.org",
        (
            Paper(
                "lam2018xview",
                "Lam, Darius and Kuzma, Richard and McGee, Kevin and Dooley, Samuel and others",
                "xView: Objects in Context in Overhead Imagery",
                "arXiv 1802.07856",
                2018,
            ),
        ),
        {"all": {"train": 700, "test": 146}},
    ),
    "dior": SetFacts(
        "DIOR and DIOR-R",
        "object detection, horizontal or oriented",
        "other",
        "none stated by the authors; academic use",
        "https://gcheng-nwpu.github.io",
        (
            Paper(
                "li2020dior",
                "Li, Ke and Wan, Gang and Cheng, Gong and Meng, Liqiu and Han, Junwei",
                "Object Detection in Optical Remote Sensing Images: A Survey and a New Benchmark",
                "ISPRS Journal of Photogrammetry and Remote Sensing",
                2020,
            ),
            Paper(
                "cheng2022diorr",
                "Cheng, Gong and Wang, Jiabao and Li, Ke and Xie, Xingxing and Lang, Chunbo and "
                "Yao, Yanqing and Han, Junwei",
                "Anchor-Free Oriented Proposal Generator for Object Detection",
                "IEEE Transactions on Geoscience and Remote Sensing",
                2022,
            ),
        ),
        {"hbb": DIOR_COUNTS, "obb": DIOR_COUNTS},
    ),
    "fair1m": SetFacts(
        "FAIR1M-2.0",
        "oriented object detection",
        "cc-by-nc-sa-4.0",
        "CC BY-NC-SA",
        "https://www.gaofen-challenge.com/benchmark",
        (
            Paper(
                "sun2022fair1m",
                "Sun, Xian and Wang, Peijin and Yan, Zhiyuan and Xu, Feng and Wang, Ruiping and "
                "others",
                "FAIR1M: A Benchmark Dataset for Fine-Grained Object Recognition in "
                "High-Resolution Remote Sensing Imagery",
                "ISPRS Journal of Photogrammetry and Remote Sensing",
                2022,
            ),
        ),
        {"v2.0": {"train": 16488, "validation": 8287, "test": 18021}},
    ),
    "dota": SetFacts(
        "DOTA",
        "oriented object detection",
        "other",
        DOTA_TERMS,
        "https://captain-whu.github.io/DOTA",
        DOTA_PAPERS,
        {
            "v1.0": {"train": 1411, "validation": 458, "test": 937},
            "v1.5": {"train": 1411, "validation": 458, "test": 937},
            "v2.0": {"train": 1830, "validation": 593, "test": 2792, "test_challenge": 6053},
        },
    ),
    "spacenet_v1": SetFacts(
        "SpaceNet v1 (Rio)",
        "semantic segmentation",
        "cc-by-sa-4.0",
        "CC BY-SA 4.0",
        "https://spacenet.ai/spacenet-buildings-dataset-v1",
        (
            Paper(
                "vanetten2018spacenet",
                "Van Etten, Adam and Lindenbaum, Dave and Bacastow, Todd M.",
                "SpaceNet: A Remote Sensing Dataset and Challenge Series",
                "arXiv 1807.01232",
                2018,
            ),
        ),
        {"mtp_5000_1940": {"train": 5000, "test": 1940}},
    ),
    "loveda": SetFacts(
        "LoveDA",
        "semantic segmentation",
        "cc-by-nc-sa-4.0",
        "CC BY-NC-SA 4.0, academic use only; pictures under the terms of Google Earth",
        "https://github.com/Junjue-Wang/LoveDA",
        (
            Paper(
                "wang2021loveda",
                "Wang, Junjue and Zheng, Zhuo and Ma, Ailong and Lu, Xiaoyan and Zhong, Yanfei",
                "LoveDA: A Remote Sensing Land-Cover Dataset for Domain Adaptive Semantic "
                "Segmentation",
                "NeurIPS Datasets and Benchmarks",
                2021,
            ),
        ),
        {"all": {"train": 2522, "validation": 1669, "test": 1796}},
    ),
    "oscd": SetFacts(
        "OSCD",
        "change detection",
        "cc-by-nc-sa-4.0",
        "labels CC BY-NC-SA 4.0; pictures under the Copernicus terms",
        "https://rcdaudt.github.io/oscd",
        (
            Paper(
                "daudt2018oscd",
                "Caye Daudt, Rodrigo and Le Saux, Bertrand and Boulch, Alexandre and "
                "Gousseau, Yann",
                "Urban Change Detection for Multispectral Earth Observation Using Convolutional "
                "Neural Networks",
                "IGARSS",
                2018,
            ),
        ),
        dict.fromkeys(("rgb", "pair", "all_bands"), {"train": 14, "test": 10})
        | dict.fromkeys(("rgb_tiles", "pair_tiles"), {"train": 827, "test": 385}),
    ),
    "whu_cd": SetFacts(
        "WHU building change detection",
        "change detection",
        "other",
        "research use",
        "http://gpcv.whu.edu.cn/data/building_dataset.html",
        (
            Paper(
                "ji2019whu",
                "Ji, Shunping and Wei, Shiqing and Lu, Meng",
                "Fully Convolutional Networks for Multisource Building Extraction From an Open "
                "Aerial and Satellite Imagery Data Set",
                "IEEE Transactions on Geoscience and Remote Sensing",
                2019,
            ),
        ),
        dict.fromkeys(
            ("split_7_1_2", "split_7_1_2_tiles"), {"train": 5334, "validation": 762, "test": 1524}
        )
        | dict.fromkeys(
            ("split_8_1_1", "split_8_1_1_tiles"), {"train": 6096, "validation": 762, "test": 762}
        ),
    ),
    "levir_cd": SetFacts(
        "LEVIR-CD",
        "change detection",
        "other",
        "academic use only, no commercial use",
        "https://justchenhao.github.io/LEVIR",
        (
            Paper(
                "chen2020levir",
                "Chen, Hao and Shi, Zhenwei",
                "A Spatial-Temporal Attention-Based Method and a New Dataset for Remote Sensing "
                "Image Change Detection",
                "Remote Sensing",
                2020,
            ),
        ),
        {
            "all": {"train": 445, "validation": 64, "test": 128},
            "all_tiles": {"train": 7120, "validation": 1024, "test": 2048},
        },
    ),
    "cdd": SetFacts(
        "CDD (SVCD)",
        "change detection",
        "other",
        "none stated by the authors; pictures under the terms of Google Earth",
        "https://isprs-archives.copernicus.org/articles/XLII-2/565/2018",
        (
            Paper(
                "lebedev2018cdd",
                "Lebedev, M. A. and Vizilter, Yu. V. and Vygolov, O. V. and Knyaz, V. A. and "
                "Rubis, A. Yu.",
                "Change Detection in Remote Sensing Images Using Conditional Adversarial Networks",
                "ISPRS Archives",
                2018,
            ),
        ),
        {"all": {"train": 10000, "validation": 3000, "test": 3000}},
    ),
}
