"""Lengths and languages."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from reasrm.curation.config import LanguageSection, LengthSection
from reasrm.curation.filters import language_code, language_filter, length_filter, script_shares
from reasrm.errors import ConfigError
from tests.curation.rows import pair
from tests.refusals import refused


def length(row, **section):
    return length_filter(LengthSection.model_validate(section), "config")(row)


def language(row, **section):
    return language_filter(LanguageSection.model_validate(section), "config")(row)


def test_bounds_are_included_and_each_side_counts():
    row = pair("p", "abc", "12345", "12")
    assert length(row, prompt={"max": 3}, response={"min": 2, "max": 5}, total={"min": 10, "max": 10}) is None
    assert length(row, response={"min": 3}) == (
        "too_short",
        "rejected has 2 characters, allowed are 3 or more",
    )
    assert length(row, response={"max": 4}) == ("too_long", "chosen has 5 characters, allowed are 0 to 4")
    assert length(row, prompt={"max": 2})[0] == length(row, total={"max": 9})[0] == "too_long"


def test_words_are_counted_in_scripts_without_blanks_too():
    row = pair("p", "What is 東京?", "a city", "a b c")
    assert length(row, unit="words", prompt={"min": 4, "max": 4}) is None


def test_tokens_are_those_of_the_given_tokenizer(tmp_path):
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "an": 1}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[UNK] $A [UNK]", special_tokens=[("[UNK]", 0)])
    tokenizer.enable_truncation(4)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    row = pair("p", "An unusual sentence, cut.", "a", "b")  # six tokens: neither cut nor framed
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        section = {"unit": "tokens", "tokenizer": str(path)}
        assert length(row, **section, prompt={"min": 6, "max": 6}) is None
        assert length(row, **section, prompt={"max": 5})[0] == "too_long"
    with refused(ConfigError, "length.tokenizer"):
        length(row, unit="tokens", tokenizer=str(tmp_path / "none"))


@pytest.mark.parametrize(
    "section",
    [{"unit": "tokens"}, {"tokenizer": "x"}, {"prompt": {"min": 3, "max": 2}}, {"prompt": {"min": -1}}],
    ids=["tokens without tokenizer", "tokenizer without tokens", "bounds crossed", "negative"],
)
def test_lengths_that_make_no_sense_are_refused(section):
    with pytest.raises(ValidationError):
        LengthSection.model_validate(section)


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("English", "en"), ("eng_Latn", "en"), ("en-GB", "en"), ("arb_Arab", "ar"), ("zh-CN", "zh"),
        ("python", "python"), (" DE ", "de"),
    ],
)  # fmt: skip
def test_tags_as_datasets_write_them(tag, code):
    assert language_code(tag) == code


def test_a_tag_decides_whatever_the_script():
    assert language(pair("p", "привет", "a", "b", language="english"), keep="en") is None
    assert language(pair("p", "hello", "a", "b", language="Russian"), keep=["en"])[0] == "language"
    assert (
        language(pair("p", "hello", "a", "b", language="python"), keep=["en", "python"], untagged="keep")
        is None
    )


def test_scripts_are_shares_of_letters():
    assert script_shares("2 + 2 = 4") == {}
    assert script_shares("abc 123") == {"Latin": 1.0}
    assert script_shares("ab яб") == {"Latin": 0.5, "Cyrillic": 0.5}
    assert script_shares("東京 ひら") == {"Han": 0.5, "Kana": 0.5}
    assert script_shares("ⴰⴱ") == {"other": 1.0}


def test_a_row_without_a_tag_goes_by_its_script():
    russian, mixed = pair("r", "привет мир", "да", "нет"), pair("m", "abcdefg", "яяя", "1")
    assert language(russian, keep="en")[0] == "script"
    assert language(russian, keep=["en", "ru"]) is None
    assert language(mixed, keep="en", min_share=0.7) is None, "seven of ten letters"
    assert language(mixed, keep="en", min_share=0.71) == ("script", "0.70 of the letters are Latin")
    assert language(pair("n", "2+2", "4", "5"), keep="ja") is None, "no letters, no language"
    assert language(pair("f", "Bonjour le monde", "oui", "non"), keep="en") is None, "a script is no language"


def test_other_policies_for_rows_without_a_tag():
    row = pair("p", "привет", "да", "нет")
    assert language(row, keep="en", untagged="keep") is None
    assert language(row, keep="en", untagged="drop") == ("language_unknown", "has no language tag")
    with refused(ConfigError, "'tlh'"):
        language(row, keep="tlh")
    assert language(row, keep="tlh", untagged="drop") is not None
