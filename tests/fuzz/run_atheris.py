"""Fuzz one parser with coverage guidance, by hand:

    pip install atheris
    python -m tests.fuzz.run_atheris dota_text --seconds 60

The parsers: dota_text, voc_xml, dior_xml, fair1m_xml, xview_geojson, footprints, coco_json, rle. A
finding is shown as a traceback, and its bytes are left as `crash-...` in the folder of inputs; that
of `--inputs` is kept for the next run. libFuzzer ends the process, so there is one a parser.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mtp_hf.dataset_scripts", "tests.fuzz", "json", "xml"]):
    from tests.fuzz.targets import SEEDS, TARGETS, run_target


def main() -> None:
    """Run libFuzzer on one target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--inputs", help="folder of inputs, kept; a temporary one if left out")
    arguments = parser.parse_args()
    inputs = Path(arguments.inputs or tempfile.mkdtemp(prefix=f"fuzz_{arguments.target}_"))
    inputs.mkdir(parents=True, exist_ok=True)
    (inputs / "valid").write_bytes(SEEDS[arguments.target])
    file = Path(tempfile.mkdtemp()) / "file"

    def run_once(data: bytes) -> None:
        run_target(arguments.target, data, file)

    options = [f"-max_total_time={arguments.seconds}", f"-artifact_prefix={inputs}/", "-timeout=10"]
    atheris.Setup([sys.argv[0], str(inputs), *options, "-max_len=4096"], run_once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
