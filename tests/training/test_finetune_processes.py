"""Claims about finetuning in several processes, and about how a published row is started."""

import pytest

from mtp_hf.training.finetune import main
from mtp_hf.training.run_log import read_log
from tests.training.process_group import run_processes
from tests.training.tiny_finetune import WRITERS, write_recipe

TASK = "change_detection"


def _finetune(arguments, cache):
    import datasets  # of this process

    datasets.config.HF_DATASETS_CACHE = cache
    main(arguments)


def test_two_processes_train_measure_and_write_one_log(tmp_path):
    WRITERS[TASK](tmp_path / "data")
    recipe = write_recipe(tmp_path / "tiny.yaml", TASK, efficiency={"cpu_threads": 1})
    folder = tmp_path / "run"
    arguments = ["--recipe", str(recipe), f"data.root={tmp_path / 'data'}"]
    run_processes(_finetune, [*arguments, "--output", str(folder)], tmp_path / "cache")
    log = read_log(folder / "log.jsonl")
    measured = [entry["step"] for entry in log if "metrics" in entry]
    assert measured == [2, 4]
    assert (folder / "model" / "model.safetensors").is_file()


def test_a_row_that_starts_from_a_file_of_ones_own_is_refused_without_it(tmp_path):
    arguments = ["--recipe", "change_detection/levir", "--result", "vit_l_rvsa_mae"]
    arguments += [f"data.root={tmp_path}", "--output", str(tmp_path / "run")]
    expected = r"row vit_l_rvsa_mae: starts from vit-l-mae-checkpoint-1599\.pth, .*--init FILE"
    with pytest.raises(SystemExit, match=expected):
        main(arguments)
    assert not (tmp_path / "run").exists()


def test_the_same_row_goes_on_with_a_file_or_where_a_random_start_is_wanted(tmp_path):
    arguments = ["--recipe", "change_detection/levir", "--result", "vit_l_rvsa_mae"]
    arguments += [f"data.root={tmp_path}", "--output", str(tmp_path / "run")]
    for more in (["--init", "mae.pth"], ["model.needs_init=null"]):
        with pytest.raises(SystemExit, match="levir_cd"):  # the empty folder comes next
            main([*arguments, *more])
