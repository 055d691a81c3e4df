"""Specs are data: hashed by what matters, read from files of strangers, held to what a prompt needs."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from reasrm.config import parse_config
from reasrm.errors import ConfigError
from reasrm.protocol.prompts import build_prompt
from reasrm.protocol.spec import JudgeSpec, load_spec
from tests.protocol.rows import FORGED, RUBRIC, SPECS, expected_texts, row, untrusted
from tests.refusals import refused

# --- spec files

SPEC: dict[str, Any] = {
    "name": "mine",
    "protocol": "pairwise",
    "messages": [
        {"role": "user", "text": "{{ prompt }} | {{ response_a }} | {{ response_b }} | {{ nonce }}"}
    ],
    "grammar": {
        "kind": "marked",
        "open": "[[",
        "close": "]]",
        "menu": {"A": {"winner": "A"}, "B": {"winner": "B"}},
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The spec with one key, named by dots, set to another value."""
    copy: dict[str, Any] = json.loads(json.dumps(SPEC))
    *parents, last = path.split(".")
    place: Any = copy
    for part in parents:
        place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
    place[last] = value
    return copy


def saved(tmp_path: Path, value: object) -> str:
    file = tmp_path / "spec.yaml"
    file.write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
    return str(file)


@pytest.mark.parametrize("path", ["name", "description", "source"])
def test_hash_ignores_what_is_for_people(path: str) -> None:
    assert JudgeSpec.model_validate(changed(path, "other")).hash == JudgeSpec.model_validate(SPEC).hash


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("messages.0.text", "{{ prompt }}  | {{ response_a }} | {{ response_b }} | {{ nonce }}"),
        ("messages.0.role", "system"),
        ("grammar.open", "(("),
        ("grammar.menu.A.winner", "tie"),
        ("grammar.menu.A.strength", 1),
        ("grammar.tag", "answer"),
        ("grammar.sections", ["eval"]),
        ("grammar.upstream", "unique_anywhere"),
        ("grammar.thinking_end", ["</t>"]),
        ("sampling.temperature", 0.5),
        ("sampling.top_p", 0.5),
        ("sampling.max_tokens", 17),
        ("allowed_verdicts", ["A", "B"]),
        ("requires", ["rubric"]),
        ("template_options", {"enable_thinking": False}),
    ],
)
def test_hash_changes_with_what_a_judge_depends_on(path: str, value: Any) -> None:
    assert JudgeSpec.model_validate(changed(path, value)).hash != JudgeSpec.model_validate(SPEC).hash


def test_hash_of_a_changed_copy_is_its_own() -> None:
    spec = JudgeSpec.model_validate(SPEC)
    before = (spec.hash, spec.structural)
    copy = spec.model_copy(
        update={"grammar": JudgeSpec.model_validate(changed("grammar.tag", "answer")).grammar}
    )
    assert copy.hash != before[0]
    assert "<answer>" in copy.structural
    assert (spec.hash, spec.structural) == before


def test_spec_survives_json() -> None:
    for spec in SPECS.values():
        again = JudgeSpec.model_validate_json(spec.model_dump_json())
        assert again == spec
        assert again.hash == spec.hash


def test_options_of_a_template_count_by_value_and_type_not_by_order() -> None:
    options: list[dict[str, Any]] = [
        {},
        {"enable_thinking": False},
        {"enable_thinking": 0},
        {"enable_thinking": "False"},
        {"enable_thinking": False, "depth": 1},
    ]
    specs = [JudgeSpec.model_validate(changed("template_options", value)) for value in options]
    assert [spec.template_options for spec in specs] == options
    assert type(specs[1].template_options["enable_thinking"]) is bool
    assert len({spec.hash for spec in specs}) == len(options)
    assert specs[0].hash == JudgeSpec.model_validate(SPEC).hash
    turned = changed("template_options", {"depth": 1, "enable_thinking": False})
    assert JudgeSpec.model_validate(turned).hash == specs[-1].hash


def test_no_name_that_the_tokenizer_uses_can_be_an_option() -> None:
    from transformers import PreTrainedTokenizerBase
    from transformers.utils.chat_template_utils import render_jinja_template

    taken = {*inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters}
    taken |= {*inspect.signature(render_jinja_template).parameters} - {"kwargs"}
    taken |= {*PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES, "messages"}
    for name in taken - {"kwargs"}:
        with pytest.raises(ConfigError, match=f"'{name}' is set by the tokenizer"):
            parse_config(JudgeSpec, changed("template_options", {name: True}), "here")


YAML = """\
name: mine
protocol: pairwise
messages:
  - role: user
    text: "{{ prompt }} | {{ response_a }} | {{ response_b }} | {{ nonce }}"
grammar: {kind: marked, open: "[[", close: "]]", menu: {A: {winner: A}, B: {winner: B}}}
"""


def test_user_spec_as_yaml_json_and_judge_folder(tmp_path: Path) -> None:
    expected = JudgeSpec.model_validate(SPEC)
    yaml, plain, judge = tmp_path / "mine.yaml", tmp_path / "mine.json", tmp_path / "judge.json"
    yaml.write_text("\ufeff" + YAML, "utf-8")
    plain.write_text(json.dumps(SPEC), "utf-8")
    judge.write_text(json.dumps({"format": 1, "spec": SPEC, "base": "x"}, indent="\t"), "utf-8")
    for place in (yaml, plain, judge, tmp_path):
        spec = load_spec(str(place))
        assert spec == expected
        assert spec.hash == expected.hash
        r = row(spec, FORGED)
        assert sorted(untrusted(build_prompt(spec, r))) == sorted(expected_texts(spec, r))


def test_escaped_emoji_in_a_json_spec_is_one_character(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(changed("messages.0.text", "🏆 {{ response_a }}")), "utf-8")
    assert "\\ud83c" in file.read_text("utf-8")
    spec = load_spec(str(file))
    assert build_prompt(spec, row(spec))[0].text == "🏆 Paris, of course."


def test_broken_json_spec_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "judge.json"
    file.write_text('{"spec":\n  {"name": NaN}}', "utf-8")
    with refused(ConfigError, "judge.json:2", remedy=False):
        load_spec(str(tmp_path))


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
BAD = {
    "unknown-key": (changed("samplng", {}), r"unknown key 'samplng'.*did you mean 'sampling'"),
    "misspelt-required-key": (
        {("protocl" if key == "protocol" else key): value for key, value in SPEC.items()},
        r"unknown key 'protocl'.*did you mean 'protocol'",
    ),
    "unknown-nested-key": (
        changed("sampling.temprature", 1),
        r"'sampling.temprature'.*did you mean 'temperature'",
    ),
    "unknown-grammar-key": (changed("grammar.opn", "["), r"opn'.*did you mean 'open'"),
    "missing-key": (
        {key: value for key, value in SPEC.items() if key != "grammar"},
        r"key 'grammar'.*required",
    ),
    "wrong-type": (changed("sampling.max_tokens", "many"), r"key 'sampling.max_tokens'.*integer.*'many'"),
    "out-of-range": (changed("sampling.temperature", -1), r"key 'sampling.temperature'.*-1"),
    "unknown-kind": (changed("grammar.kind", "regex"), r"key 'grammar.kind'.*'regex'.*use one of marked"),
    "grammar-of-another-protocol": (changed("protocol", "pointwise"), r"protocol 'pointwise' needs.*score"),
    "unknown-role": (changed("messages.0.role", "assistant"), r"key 'messages.0.role'.*'assistant'"),
    "sentinel-in-template": (changed("messages.0.text", "\ue0000\ue001"), r"key 'messages.0.text'"),
    "empty-menu": (changed("grammar.menu", {}), r"menu'"),
    "menu-word-twice": (changed("grammar.menu.a", {"winner": "B"}), r"menu holds a word twice"),
    "full-width-literal": (
        changed("grammar.open", "［［"),
        r"'［［' is compared after NFKC; write it as '\[\['",
    ),
    "invisible-menu-word": (changed("grammar.menu", {"A\u200b": {"winner": "A"}}), r"is compared after NFKC"),
    "unknown-winner": (changed("grammar.menu.A.winner", "C"), r"menu.A.winner'.*'C'"),
    "option-of-the-tokenizer": (
        changed("template_options", {"add_generation_prompt": False}),
        r"key 'template_options'.*'add_generation_prompt' is set by the tokenizer",
    ),
    "option-named-like-a-special-token": (
        changed("template_options", {"bos_token": ""}),
        r"'bos_token' is set",
    ),
    "option-that-is-no-name": (changed("template_options", {"a-b": 1}), r"'a-b' cannot be the name"),
    "option-with-a-fraction": (changed("template_options", {"depth": 0.5}), r"template_options.depth.*0.5"),
    "option-without-value": (changed("template_options", {"depth": None}), r"template_options.depth.*None"),
    "option-beyond-json": (changed("template_options", {"depth": 2**70}), r"template_options.depth"),
    "not-a-mapping": ("- a\n- b\n", r"top level"),
    "empty-file": ("", r"top level"),
    "broken-yaml": ("name: [", r"spec.yaml:\d+: is not plain YAML"),
    "too-deep": ("[" * 1500, r"spec.yaml"),
    "alias-bomb": (BOMB, r"expands to more than"),
    "endless-alias": ("a: &a [*a]\n", r"expands to more than"),
}


@pytest.mark.parametrize(("value", "message"), BAD.values(), ids=BAD)
def test_bad_spec_names_place_and_key(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_spec(saved(tmp_path, value))
    assert "spec.yaml" in str(caught.value.place)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch {canary}']",
        "!!python/object/new:os.system ['touch {canary}']",
        "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.PosixPath ['{canary}']]",
        "!!python/name:os.system",
        "!!python/module:os",
    ],
)
def test_yaml_tags_never_run(tmp_path: Path, tag: str) -> None:
    canary = tmp_path / "canary"
    with refused(ConfigError, "spec.yaml:1", remedy=False):
        load_spec(saved(tmp_path, f"name: {tag.format(canary=canary)}\n"))
    assert not canary.exists()


def test_spec_file_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_spec(str(file))
    file.write_bytes(b"#" * 1_000_001)
    with refused(ConfigError, "1000000", remedy=False):
        load_spec(str(file))


@pytest.mark.parametrize(
    ("name", "message"), [("rm-r2", "did you mean 'rm-r1'"), ("zzz", "give a file or one of: arena-hard")]
)
def test_no_such_spec(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_spec(name)


# --- templates of strangers

REFUSED = {
    "class": "{{ ''.__class__.__mro__ }}",
    "class-by-item": "{{ ''['__class__'] }}",
    "class-by-filter": "{{ '' | attr('__class__') }}",
    "globals": "{{ self.__init__.__globals__ }}",
    "format": "{{ '{0.__class__}'.format(prompt) }}",
    "call": "{{ prompt.upper() }}",
    "function": "{{ cycler.__init__.__globals__.os.system('true') }}",
    "range": "{% for n in range(10**9) %}x{% endfor %}",
    "nested-ranges": "{% for n in range(99999) %}{% for m in range(99999) %}{% endfor %}{% endfor %}",
    "multiplied-text": "{{ 'x' * 10**9 }}",
    "power": "{{ 9 ** 9 ** 9 }}",
    "padding": "{{ '%999999999d' | format(1) }}",
    "centred": "{{ 'x' | center(999999999) }}",
    "loop-over-text": "{% for n in 'aaaa' %}{% for m in 'aaaa' %}x{% endfor %}{% endfor %}",
    "loop-in-loop": "{% for n in candidates %}{% for m in candidates %}x{% endfor %}{% endfor %}",
    "recursive-loop": "{% for n in candidates recursive %}{{ loop(candidates) }}{% endfor %}",
    "macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "doubling": "{% set x = 'x' %}{% set x = x ~ x %}{{ x }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
    "extends": "{% extends 'x' %}",
    "filter-block": "{% filter center(99999999) %}x{% endfilter %}",
    "unknown-variable": "{{ respnse_a }}",
    "candidates-of-a-pair": "{% for c in candidates %}{{ c.text }}{% endfor %}",
    "syntax": "{{ prompt ",
    "deep": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep-conditions": "{% if prompt %}" * 200 + "{% endif %}" * 200,
    "forged-sentinel": '{{ "\\ue0005\\ue001" }}',
    "forged-huge-sentinel": '{{ "\\ue000" ~ "' + "9" * 5000 + '" ~ "\\ue001" }}',
    "cut-sentinel": "{{ prompt | first }}",
    "too-long": "x" * 1_000_001,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("template", REFUSED.values(), ids=REFUSED)
def test_template_that_does_more_than_a_prompt_needs(template: str) -> None:
    spec = JudgeSpec.model_validate(changed("messages.0.text", template))
    with pytest.raises(ConfigError, match="spec mine: the template"):
        build_prompt(spec, row(spec))


def test_template_language_is_enough_for_prompts() -> None:
    text = (
        "{# note #}{% if rubric is not none and reference is none %}R: {{ rubric }}\n{% else %}-\n{% endif %}"
        "{{ principle if principle is not none else 'none' | upper }}{{ 'abc'[0] ~ (1 + 2 - 1) }}\n"
        "{{ response_a | trim }}{{ response_a }}{{ response_b | default('x') }}"
    )
    spec = JudgeSpec.model_validate(changed("messages.0.text", text))
    (message,) = build_prompt(spec, row(spec))
    assert message.text == f"R: {RUBRIC.render()}\nNONEa2\nParis, of course.Paris, of course.Lyon."
    listwise = changed(
        "messages.0.text",
        "{{ candidates | length }}{% for c in candidates %} {{ loop.index }}{{ c.text }}{% endfor %}",
    )
    listwise |= {"protocol": "listwise", "grammar": {"kind": "ranking"}}
    spec = JudgeSpec.model_validate(listwise)
    assert build_prompt(spec, row(spec))[0].text == "3 1Paris, of course. 2Lyon. 3No idea."
