"""The accuracy at the end of a training says where it was measured on training images."""

import shutil
from pathlib import Path

from training.evaluation.after_training import report_accuracy


def test_copies_of_training_images_are_a_warning(
    exported: Path, drawn_data: Path, tmp_path: Path
) -> None:
    data, said = shutil.copytree(drawn_data, tmp_path / "data"), list[str]()
    report_accuracy(exported, data, said.append)
    assert not any("warning" in line for line in said)
    cat = next(one for one in (data / "train").iterdir() if one.is_dir())
    for file in cat.iterdir():
        shutil.copyfile(file, data / "val" / cat.name / f"again-{file.name}")
    report_accuracy(exported, data, said.append)
    (warning,) = [line for line in said if line.startswith("warning")]
    assert "the accuracy is too good" in warning
