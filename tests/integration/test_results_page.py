"""docs/results.md says what its hypotheses score."""

import importlib.util

from documentation import REPOSITORY


def load_writer():
    spec = importlib.util.spec_from_file_location("writer", REPOSITORY / "scripts" / "write_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_tables_are_what_the_results_give(tmp_path):
    writer = load_writer()
    page = writer.PAGE.read_text(encoding="utf-8")
    assert writer.PLACE.search(page)
    assert writer.up_to_date(page, tmp_path / "scores") == page, "run: python scripts/write_results.py"


def test_every_folder_of_results_is_in_the_page_and_every_run_has_its_curve():
    writer = load_writer()
    places = {place[2] for place in writer.PLACE.finditer(writer.PAGE.read_text(encoding="utf-8"))}
    assert places == {path.name for path in writer.RESULTS.iterdir() if path.is_dir()}
    for name in places:
        runs = {path.stem for path in (writer.RESULTS / name / "hypotheses").iterdir()}
        assert runs == {path.stem for path in (writer.RESULTS / name / "logs").iterdir()}
        assert (writer.PAGE.parent / f"results_{name}.png").read_bytes().startswith(b"\x89PNG")
