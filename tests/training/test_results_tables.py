"""Claims about the table of results: from the recipes, and in the README as they are."""

from pathlib import Path

import pytest

from mtp_hf.training import results_tables
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.recipe import recipe_names
from mtp_hf.training.results_tables import END, START, main, results_cell, results_table, with_table

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def one_recipe(tmp_path, monkeypatch):
    """A package with one recipe, whose numbers the test chooses."""

    def write(published, reproduced, rows=tuple(results_tables.COLUMNS)):
        lines = [
            "task: change_detection",
            "data: {builder: levir_cd}",
            "model: {architecture: siamese_unet}",
            "schedule: {epochs: 1}",
            "results:",
            *(f"  {row}: {{published: {published}, reproduced: {reproduced}}}" for row in rows),
        ]
        path = tmp_path / "change_detection" / "levir.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines))

    monkeypatch.setattr("mtp_hf.training.recipe.RECIPES_FOLDER", tmp_path)
    return write


def test_the_readme_has_the_table_of_the_recipes():
    text = README.read_text(encoding="utf-8")
    assert with_table(text, results_table()) == text, "run training/results_tables.py README.md"


def test_the_table_has_a_line_for_every_recipe():
    lines = results_table().splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == recipe_names(FinetuneRecipe)
    assert {line.count("|") for line in lines} == {len(results_tables.COLUMNS) + 3}


@pytest.mark.parametrize(
    ("published", "reproduced", "cell"),
    [
        ("{changed_f1: 92.2}", "{changed_f1: 91.987}", "92.20 / 91.99"),
        ("{changed_f1: 92.22}", "{}", "92.22 / -"),
        ("{}", "{changed_f1: 90}", "- / 90.00"),
        ("{changed_iou: 80.0}", "{changed_iou: 80.0}", "- / -"),  # not what it is known by
    ],
)
def test_a_cell_has_what_is_published_beside_what_is_reproduced(
    one_recipe, published, reproduced, cell
):
    one_recipe(published, reproduced)
    assert results_cell("change_detection/levir", "vit_b_rvsa_mae") == cell
    assert results_table().splitlines()[-1].count(cell) == len(results_tables.COLUMNS)


def test_a_recipe_with_another_row_is_named(one_recipe):
    one_recipe("{}", "{}", rows=[*results_tables.COLUMNS, "vit_t_rvsa_mae"])
    with pytest.raises(ValueError, match=r"change_detection/levir: rows \['vit_t_rvsa_mae'\]"):
        results_table()


def test_the_table_replaces_what_is_between_the_markers_and_nothing_else():
    text = f"before\n{START}\nold\n{END}\nafter\n"
    once = with_table(text, "| new |")
    assert once == f"before\n{START}\n\n| new |\n\n{END}\nafter\n"
    assert with_table(once, "| new |") == once


@pytest.mark.parametrize("text", ["", START, f"{END}{START}", f"{START}{START}{END}"])
def test_a_text_without_the_two_markers_is_refused(text):
    with pytest.raises(ValueError, match="expected one line '<!-- results"):
        with_table(text, "")


def test_the_command_prints_the_table_or_writes_it_into_a_file(one_recipe, tmp_path, capsys):
    one_recipe("{changed_f1: 92.2}", "{}")
    main([])
    assert capsys.readouterr().out == results_table() + "\n"
    file = tmp_path / "page.md"
    file.write_text(f"{START}\n{END}\n")
    main([str(file)])
    assert file.read_text() == f"{START}\n\n{results_table()}\n\n{END}\n"


def test_a_file_that_cannot_be_written_into_is_an_error_with_its_name(tmp_path):
    with pytest.raises(SystemExit, match=r"missing\.md"):
        main([str(tmp_path / "missing.md")])
    (tmp_path / "plain.md").write_text("text\n")
    with pytest.raises(SystemExit, match=r"plain\.md: expected one line"):
        main([str(tmp_path / "plain.md")])
    assert (tmp_path / "plain.md").read_text() == "text\n"
