"""A setting prints and reads itself."""

from __future__ import annotations

import re

import pytest

from vmm.benchmark.setting import CHOSEN, LEIDEN, TRAINED, Setting
from vmm.errors import InputError


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (Setting(256, stop="nmi"), "b256-nmi"),
        (Setting(64, stop="elbo"), "b64-elbo"),
        (Setting(128, 2.5), "b128-r2.5"),
        (Setting(128, 10.0), "b128-r10"),
        (Setting(128, 1e-5), "b128-r1e-05"),
        (CHOSEN, "chosen"),
        (LEIDEN, "leiden"),
    ],
)
def test_a_setting_prints_and_reads_itself(setting, text):
    assert str(setting) == text and Setting.parse(text) == setting


@pytest.mark.parametrize("text", ["", "b128", "b-nmi", "b128-r", "b128-rx", "x128-r1", "Chosen"])
def test_what_is_no_setting(text):
    with pytest.raises(InputError, match=re.escape(f"setting is {text!r}; it must look like")):
        Setting.parse(text)


def test_tuning_compares_settings_with_a_ratio():
    assert Setting(128, 5.0).is_tuning
    assert not CHOSEN.is_tuning and not Setting(128, stop="nmi").is_tuning


def test_settings_sort_by_batch_size_then_ratio():
    texts = ["b256-r1", "b64-r10", "b64-r2.5"]
    assert [str(s) for s in sorted(map(Setting.parse, texts))] == ["b64-r2.5", "b64-r10", "b256-r1"]


def test_the_pattern_of_wildcards():
    for text in ("chosen", "b256-nmi", "b64-elbo"):
        assert re.fullmatch(TRAINED, text)
    for text in ("leiden", "b64-r2.5"):
        assert not re.fullmatch(TRAINED, text)
