"""Claims about loading finished models; the whole command is in `test_run_eval.py`."""

from pathlib import Path

import pytest

from mtp_hf.training.model_loading import check_classes, find_model, recipe_beside

WHERE = Path("model")


def test_a_recipe_is_found_in_the_checkpoint_or_beside_the_model(tmp_path):
    (tmp_path / "model").mkdir()
    assert recipe_beside(tmp_path / "model") is None
    (tmp_path / "recipe.yaml").touch()
    assert recipe_beside(tmp_path / "model") == tmp_path / "recipe.yaml"
    (tmp_path / "model" / "recipe.yaml").touch()
    assert recipe_beside(tmp_path / "model") == tmp_path / "model" / "recipe.yaml"


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no model: expected config.json"):
        find_model(str(tmp_path))


def test_a_file_is_refused_with_the_way_to_a_folder(tmp_path):
    (tmp_path / "a.pth").touch()
    with pytest.raises(ValueError, match="mtp-hf convert"):
        find_model(str(tmp_path / "a.pth"))


def test_equal_classes_pass():
    check_classes(["ship", "car"], ["ship", "car"], WHERE)


def test_classes_without_names_pass_where_their_number_fits():
    check_classes(["LABEL_0", "LABEL_1"], ["ship", "car"], WHERE)
    with pytest.raises(ValueError, match="has 2 classes"):
        check_classes(["LABEL_0", "LABEL_1"], ["ship"], WHERE)


def test_another_order_of_classes_is_refused_by_the_first_that_differs():
    with pytest.raises(ValueError, match="class 1 of the model in model is 'a', of the data 'b'"):
        check_classes(["x", "a", "b"], ["x", "b", "a"], WHERE)
