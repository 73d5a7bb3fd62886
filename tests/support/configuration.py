"""The project's configuration files, and what they refuse."""

import pytest

from sequencematch.config.load import load_config
from sequencematch.errors import UserError
from support.workflow import ROOT

BASE = ROOT / "config.yaml"
SCALES = ROOT / "workflow" / "scales"


def refusal(overlay):
    with pytest.raises(UserError) as caught:
        load_config(BASE, ("overlay.yaml", overlay))
    message = str(caught.value)
    assert "\n" not in message
    return message
