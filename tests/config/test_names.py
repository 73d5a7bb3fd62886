"""Names that become folders and rules, and numbers in paths: refused before anything runs if they fall together."""

import pytest

from sequencematch.config.load import scale_overlay
from sequencematch.errors import UserError


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("scale: other\n", "mine.yaml: scale is 'other', but must be 'mine', like the file"),
        ("seeds: [1]\n", "mine.yaml: scale is missing, but must be 'mine', like the file"),
    ],
)
def test_a_scale_has_the_name_of_its_file(tmp_path, content, sentence):
    """Otherwise its results would go to another scale's folder: the default one, if it names none."""
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(UserError) as caught:
        scale_overlay(tmp_path, "mine")
    assert sentence in str(caught.value)
    (tmp_path / "more.yaml").write_text("scale: more\nextends: mine\n")
    with pytest.raises(UserError, match="mine.yaml: scale is"):
        scale_overlay(tmp_path, "more")


def test_the_default_scale_has_no_file_and_no_other_name(tmp_path):
    (tmp_path / "default.yaml").write_text("scale: default\n")
    with pytest.raises(UserError, match="default.yaml: 'default' is the scale of config.yaml itself"):
        scale_overlay(tmp_path, "default")
