"""Each source: its example row by hand, its label map, what it refuses, and how it is recognised."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasrm.errors import ConfigError, InputError, RowError
from reasrm.records import (
    CandidateSet,
    Comparison,
    CoreArgument,
    Criterion,
    Critique,
    Message,
    Order,
    PreferencePair,
    Recorded,
    Row,
    Rubric,
    Verdict,
)
from reasrm.sources import SOURCES, Source, detect, get
from tests.refusals import refused

# A generic schema fits these rows of others too; the order of `SOURCES` decides for the specific one.
USER = (Message("user", "Name a prime."),)
BASES: dict[str, dict[str, Any]] = {
    "rows": {"prompt": "Q", "response_a": "x", "response_b": "y"},
    "trl": {"prompt": "Q", "chosen": "x", "rejected": "y"},
}


def read(name: str, row: dict[str, Any]) -> tuple[Row, ...]:
    return get(name).read(row, "f.jsonl:3")


def read_pair(name: str, row: dict[str, Any]) -> PreferencePair:
    (record,) = read(name, row)
    assert isinstance(record, PreferencePair)
    return record


def read_comparison(name: str, row: dict[str, Any]) -> Comparison:
    (record,) = read(name, row)
    assert isinstance(record, Comparison)
    return record


def read_candidates(name: str, row: dict[str, Any]) -> CandidateSet:
    (record,) = read(name, row)
    assert isinstance(record, CandidateSet)
    return record


def refusal(name: str, row: dict[str, Any]) -> RowError:
    with pytest.raises(RowError) as caught:
        read(name, row)
    assert caught.value.place == "f.jsonl:3"
    return caught.value


def example(name: str, **changes: Any) -> dict[str, Any]:
    return {**get(name).example, **changes}


def test_names_are_unique_and_every_source_says_where_it_comes_from() -> None:
    assert len({source.name for source in SOURCES}) == len(SOURCES)
    for source in SOURCES:
        assert all((source.url, source.licence, source.revision, source.label_rule)), source.name


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_an_example_is_recognised_by_its_own_source_and_more_generic_ones_only(source: Source) -> None:
    fits = [other for other in SOURCES if other.recognises(source.example)]
    assert all(other is source or other.generic > source.generic for other in fits)
    assert detect(source.example) is source


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_an_example_is_read_and_twice_the_same(source: Source) -> None:
    rows = source.read(source.example, "p:1")
    assert len(rows) == (9 if source.name == "rm-bench" else 1)
    assert rows == source.read(dict(source.example), "elsewhere:2")
    assert all(row.id for row in rows)


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with refused(ConfigError, "'judge_bench'", "'judgebench'"):
        get("judge_bench")
    with pytest.raises(ConfigError, match=r"known sources: auto, .*, rows, trl$"):
        get("zzzz")


def test_an_unknown_schema_lists_its_keys_and_says_where_the_known_ones_are() -> None:
    with refused(InputError, "'question_id'", "'turns'", "reasrm data sources", "--source"):
        detect({"question_id": 1, "turns": []})


# --- types (F20) -------------------------------------------------------------------------------------------

TEXT_FIELDS = [
    (source.name, key)
    for source in SOURCES
    for key in source.text_keys
    if isinstance(source.example.get(key), str)
]


@pytest.mark.parametrize(("name", "key"), TEXT_FIELDS)
@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "null"),
        (True, "the boolean true"),
        (3, "the number 3"),
        (0.5, "the number 0.5"),
        ([], "a list of 0"),
    ],
    ids=["null", "true", "3", "0.5", "list"],
)
def test_a_wrong_type_names_key_expectation_and_finding(
    name: str, key: str, value: object, found: str
) -> None:
    error = refusal(name, example(name, **{key: value}))
    assert error.code == "wrong_type"
    assert f"field {key!r} must be a" in error.message
    assert error.message.endswith(f"found {found}")


@pytest.mark.parametrize(("name", "key"), TEXT_FIELDS)
def test_a_missing_field_is_named_with_the_keys_there_are(name: str, key: str) -> None:
    row = example(name)
    del row[key]
    error = refusal(name, row)
    assert error.code == "missing_field"
    assert f"field {key!r} is missing; the row has {next(iter(row))!r}" in error.message


def test_scalars_become_text_only_on_request_and_only_in_text_fields() -> None:
    source = get("pandalm")
    row = example("pandalm", response1=True, response2=3.5)
    assert "--coerce-scalars" in str(refusal("pandalm", row))
    (record,) = source.read(source.coerce_scalars(row), "p:1")
    assert isinstance(record, Comparison)
    assert (record.response_a, record.response_b) == ("True", "3.5")
    assert record.meta["annotator1"] == 1
    assert row["response1"] is True
    untouched = example("pandalm")
    assert source.coerce_scalars(untouched) is untouched


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "text", "judgment", "completion"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
EXTRA_KEYS = [
    "id",
    "prompt",
    "judgments",
    "results",
    "rubric",
    "critique",
    "subset",
    "meta",
    "label",
    "domain",
]


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
@settings(max_examples=50, deadline=None, derandomize=True)
@given(data=st.data())
def test_whatever_a_field_holds_the_row_is_read_or_refused(source: Source, data: st.DataObject) -> None:
    row = dict(source.example)
    for key in data.draw(st.lists(st.sampled_from([*row, *EXTRA_KEYS]), min_size=1, max_size=3)):
        row[key] = data.draw(JSON)
    try:
        rows = source.read(row, "p:1")
    except RowError as error:
        assert error.place == "p:1"  # noqa: PT017
    else:
        assert all(type(row.id) is str and row.id for row in rows)
        assert all(type(turn.content) is str for row in rows for turn in row.prompt)
    for other in SOURCES:
        assert other.recognises(row) in (True, False)


# --- ids ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BASES)
def test_an_id_is_a_string_or_an_integer(name: str) -> None:
    (text,) = read(name, {**BASES[name], "id": "q1"})
    (number,) = read(name, {**BASES[name], "id": 0})
    assert (text.id, number.id) == ("q1", "0")


@pytest.mark.parametrize("name", BASES)
def test_a_null_id_is_no_id(name: str) -> None:
    (null,), (absent,) = read(name, {**BASES[name], "id": None}), read(name, BASES[name])
    assert null.id == absent.id
    assert get(name).derives_id({**BASES[name], "id": None})


@pytest.mark.parametrize("bad", [True, 1.5, "", [], {}], ids=repr)
@pytest.mark.parametrize("name", BASES)
def test_any_other_id_is_refused(name: str, bad: object) -> None:
    assert refusal(name, {**BASES[name], "id": bad}).code == "bad_id"


@pytest.mark.parametrize(
    ("name", "key", "row_id"),
    [("judgebench", "pair_id", "p-1"), ("pandalm", "idx", "0"), ("rm-r1-logs", "pair_uid", "17")],
)
def test_a_dataset_has_its_own_id_field_and_the_rows_own_id_wins(name: str, key: str, row_id: str) -> None:
    source = get(name)
    (record,) = read(name, example(name))
    (renamed,) = read(name, example(name, id="mine"))
    assert (record.id, renamed.id) == (row_id, "mine")
    assert not source.derives_id(source.example)
    without = {k: v for k, v in source.example.items() if k != key}
    assert source.derives_id(without)
    (derived,) = source.read(without, "p:1")
    assert len(derived.id) == 16


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("llmbar", {"label": 2}),
        ("rows", {"label": "B"}),
        ("rows", {"label": "tie"}),
        ("rows", {"label": None}),
    ],
)
def test_a_derived_id_does_not_depend_on_the_label(name: str, changes: dict[str, Any]) -> None:
    row = example(name)
    row.pop("id", None)
    (one,) = read(name, row)
    (other,) = read(name, {**row, **changes})
    assert one.id == other.id
    assert one != other


def test_a_derived_id_is_the_same_whichever_side_is_called_chosen_and_in_every_form() -> None:
    pair = read_pair("trl", {"prompt": "Q", "chosen": "x", "rejected": "y"})
    swapped = read_pair("trl", {"prompt": "Q", "chosen": "y", "rejected": "x"})
    comparison = read_comparison("rows", {"prompt": "Q", "response_a": "y", "response_b": "x", "label": "A"})
    assert pair.id == swapped.id == comparison.id
    assert pair.present(0).response_a == swapped.present(0).response_a == comparison.present(0).response_a
    assert read_pair("trl", {"prompt": "Q2", "chosen": "x", "rejected": "y"}).id != pair.id


# --- labels (F21) ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "key", "value", "winner"),
    [
        ("rows", "label", "A", "A"),
        ("rows", "label", "B", "B"),
        ("rows", "label", "tie", "tie"),
        ("judgebench", "label", "A>B", "A"),
        ("judgebench", "label", "B>A", "B"),
        ("llmbar", "label", 1, "A"),
        ("llmbar", "label", 2, "B"),
    ],
)
def test_label_maps(name: str, key: str, value: object, winner: str) -> None:
    record = read_comparison(name, example(name, **{key: value}))
    assert record.target is not None
    assert record.target.winner == winner


WRONG_LABELS = [7, "C", -100, "", "A > B", "model_A", True, False, 1.0, "1", "a", "Tie", "TIE", [], {}]


@pytest.mark.parametrize("wrong", WRONG_LABELS, ids=repr)
@pytest.mark.parametrize("name", ["rows", "judgebench", "llmbar"])
def test_no_other_label_is_taken_for_one(name: str, wrong: object) -> None:
    error = refusal(name, example(name, label=wrong))
    assert error.code == "bad_label"
    assert "label map: " in error.message


@pytest.mark.parametrize("wrong", [7, 3, -100, "1", "", True, 1.0, None], ids=repr)
@pytest.mark.parametrize("key", ["annotator1", "annotator2", "annotator3"])
def test_no_other_annotation_is_taken_for_one(key: str, wrong: object) -> None:
    error = refusal("pandalm", example("pandalm", **{key: wrong}))
    assert error.code == "bad_label"
    assert "label map: 0 → tie, 1 → A, 2 → B" in error.message


def test_a_refused_label_prints_the_mapping_table() -> None:
    assert "label map: 1 → A, 2 → B" in str(refusal("llmbar", example("llmbar", label="C")))
    assert 'label map: "A" → A, "B" → B, "tie" → tie' in str(refusal("rows", example("rows", label=7)))
    assert 'label map: "A>B" → A, "B>A" → B' in str(refusal("judgebench", example("judgebench", label=7)))


def test_benchmark_labels_are_required_and_generic_ones_are_not() -> None:
    for name in ("judgebench", "llmbar"):
        row = example(name)
        del row["label"]
        assert refusal(name, row).code == "missing_field"
        assert refusal(name, example(name, label=None)).code == "bad_label"
    assert read_comparison("rows", BASES["rows"]).target is None


@pytest.mark.parametrize(
    ("votes", "winner"),
    [
        ((1, 1, 1), "A"),
        ((1, 1, 0), "A"),
        ((0, 1, 1), "A"),
        ((1, 2, 2), "B"),
        ((0, 2, 0), "tie"),
        ((0, 0, 0), "tie"),
    ],
)
def test_pandalm_takes_the_majority(votes: tuple[int, int, int], winner: str) -> None:
    changes = {f"annotator{n}": vote for n, vote in enumerate(votes, 1)}
    assert read_comparison("pandalm", example("pandalm", **changes)).target == Verdict(winner)  # type: ignore[arg-type]


def test_pandalm_without_a_majority_is_an_error_and_not_a_tie() -> None:
    error = refusal("pandalm", example("pandalm", annotator1=2, annotator2=0, annotator3=1))
    assert error.code == "no_majority"
    assert "B, tie, A" in error.message


# --- our own rows ------------------------------------------------------------------------------------------


def test_prompts_are_strings_messages_or_text_parts() -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    parts = [{"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}]
    assert read_comparison("rows", {**BASES["rows"], "prompt": "Hi"}).prompt == (Message("user", "Hi"),)
    assert read_comparison("rows", {**BASES["rows"], "prompt": parts}).prompt == (Message("user", "Hi"),)
    assert read_comparison("rows", {**BASES["rows"], "prompt": turns}).prompt == (
        Message("system", "Be brief."),
        Message("user", "Hi"),
    )


@pytest.mark.parametrize(
    ("prompt", "code", "named"),
    [
        (["Hi"], "wrong_type", "'prompt[0]'"),
        ([{"role": "user"}], "missing_field", "'prompt[0].content'"),
        ([{"content": "Hi"}], "missing_field", "'prompt[0].role'"),
        ([{"role": None, "content": "Hi"}], "wrong_type", "'prompt[0].role'"),
        ([{"role": "user", "content": None}], "wrong_type", "'prompt[0].content'"),
        ([{"role": "user", "content": []}], "wrong_type", "'prompt[0].content'"),
        ([{"role": "user", "content": [{"type": "image"}]}], "wrong_type", "'prompt[0].content[0]'"),
        ([{"role": "user", "content": "Hi", "tool_calls": [{}]}], "wrong_type", "'prompt[0].tool_calls[0]'"),
    ],
)
def test_prompts_of_another_shape_are_refused(prompt: object, code: str, named: str) -> None:
    error = refusal("rows", {**BASES["rows"], "prompt": prompt})
    assert (error.code, named in error.message) == (code, True)


def test_a_listwise_row_takes_the_best_or_a_ranking() -> None:
    row = {"prompt": "Q", "responses": ["x", "y", "z"]}
    assert read_candidates("rows", row).label is None
    assert read_candidates("rows", {**row, "label": 2}).label == 2
    assert read_candidates("rows", {**row, "label": [2, 0, 1]}).label == (2, 0, 1)
    assert read_candidates("rows", row).responses == ("x", "y", "z")


@pytest.mark.parametrize(
    "wrong", [3, -1, True, "A", 1.0, [0, 1], [0, 0, 1], [0, 1, 2, 3], [False, 1, 2], []], ids=repr
)
def test_a_listwise_label_outside_the_list_is_refused(wrong: object) -> None:
    assert refusal("rows", {"prompt": "Q", "responses": ["x", "y", "z"], "label": wrong}).code == "bad_label"


@pytest.mark.parametrize(
    ("wrong", "key"), [([], "responses"), ("x", "responses"), (["x", True], "responses[1]")]
)
def test_listwise_responses_are_strings(wrong: object, key: str) -> None:
    error = refusal("rows", {"prompt": "Q", "responses": wrong})
    assert (error.code, repr(key) in error.message) == ("wrong_type", True)


def test_a_pointwise_row_takes_a_number() -> None:
    row = {"prompt": "Q", "response": "x"}
    assert read_candidates("rows", row) == CandidateSet(
        id=read_candidates("rows", row).id, prompt=(Message("user", "Q"),), responses=("x",)
    )
    assert read_candidates("rows", {**row, "label": 4}).label == 4
    assert read_candidates("rows", {**row, "label": 0.5}).label == 0.5
    for wrong in (True, "4", [4]):
        assert refusal("rows", {**row, "label": wrong}).code == "bad_label"


def test_optional_fields_travel_with_any_row() -> None:
    extra = {
        "rubric": {"criteria": [{"kind": "hard_rule", "text": "One word.", "weight": 2}]},
        "principle": "Brevity.",
        "reference": "Two",
        "critique": {"arguments": [{"about": "B", "stance": "against", "text": "Wrong.", "fatal": True}]},
        "subset": "math",
        "group": "g1",
        "language": "en",
        "meta": {"k": [1]},
    }
    for name, base in BASES.items():
        (record,) = read(name, {**base, **extra})
        assert record.rubric == Rubric(criteria=(Criterion("hard_rule", "One word.", 2),))
        assert (record.principle, record.reference) == ("Brevity.", "Two")
        assert record.critique == Critique(arguments=(CoreArgument("B", "against", "Wrong.", fatal=True),))
        assert (record.subset, record.group, record.language, record.meta) == ("math", "g1", "en", {"k": [1]})
        (bare,) = read(name, {**base, **dict.fromkeys(extra)})
        assert (bare.rubric, bare.critique, bare.subset, bare.meta) == (None, None, None, {})


def test_rubrics_and_critiques_may_be_text() -> None:
    assert read_pair("trl", {**BASES["trl"], "rubric": "Be kind."}).rubric == Rubric(text="Be kind.")
    assert read_pair("trl", {**BASES["trl"], "rubric": ["Kind.", "Short."]}).rubric == Rubric(
        text="1. Kind.\n2. Short."
    )
    assert read_pair("trl", {**BASES["trl"], "critique": "B rambles."}).critique == Critique(
        text="B rambles."
    )


@pytest.mark.parametrize(
    "extra",
    [
        {"rubric": 3},
        {"rubric": ["ok", 3]},
        {"rubric": {"criteria": []}},
        {"rubric": {"criteria": [{"kind": "rule", "text": "x"}]}},
        {"rubric": {"criteria": [{"kind": "principle", "text": ""}]}},
        {"rubric": {"criteria": [{"kind": "principle", "text": "x", "weight": True}]}},
        {"critique": []},
        {"critique": {"arguments": "x"}},
        {"critique": {"arguments": [{"about": "C", "stance": "for", "text": "x"}]}},
        {"critique": {"arguments": [{"about": "A", "stance": "pro", "text": "x"}]}},
        {"critique": {"arguments": [{"about": "A", "stance": "for", "text": "x", "fatal": 1}]}},
        {"subset": 3},
        {"group": True},
        {"meta": []},
    ],
    ids=str,
)
def test_optional_fields_of_another_shape_are_refused(extra: dict[str, Any]) -> None:
    error = refusal("rows", {**BASES["rows"], **extra})
    assert error.code == "wrong_type"
    assert next(iter(extra)) in error.message


# --- TRL ---------------------------------------------------------------------------------------------------


def turns(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Q", "chosen": "x", "rejected": "y"},
        {"prompt": turns("Q"), "chosen": turns("Q", "x")[1:], "rejected": turns("Q", "y")[1:]},
        {"prompt": "Q", "chosen": turns("Q", "x"), "rejected": turns("Q", "y")},
        {"chosen": turns("Q", "x"), "rejected": turns("Q", "y")},
    ],
    ids=["explicit-strings", "explicit-messages", "prompt-repeated-in-messages", "implicit-messages"],
)
def test_trl_forms_mean_the_same_pair(row: dict[str, Any]) -> None:
    pair = read_pair("trl", row)
    assert (pair.prompt, pair.chosen, pair.rejected) == ((Message("user", "Q"),), "x", "y")


def test_an_implicit_conversation_keeps_its_shared_turns_as_prompt() -> None:
    pair = read_pair("trl", {"chosen": turns("Q", "r", "Q2", "x"), "rejected": turns("Q", "r", "Q2", "y")})
    assert [turn.content for turn in pair.prompt] == ["Q", "r", "Q2"]
    assert (pair.chosen, pair.rejected) == ("x", "y")


def test_equal_last_messages_of_an_implicit_conversation_are_responses_and_no_prompt() -> None:
    pair = read_pair("trl", {"chosen": turns("Q", "x"), "rejected": turns("Q", "x")})
    assert (len(pair.prompt), pair.chosen, pair.rejected) == (1, "x", "x")


@pytest.mark.parametrize(
    ("chosen", "rejected", "code"),
    [
        (turns("Q", "x"), turns("P", "y"), "no_prompt"),
        (turns("Q"), turns("Q", "y"), "no_prompt"),
        (turns("Q", "x"), turns("Q", "x", "Q2", "y"), "prompt_mismatch"),
        (turns("Q", "x", "Q2", "z"), turns("Q", "y", "Q2", "z"), "prompt_mismatch"),
        (turns("Q", "r", "Q2"), turns("Q", "r", "Q3"), "unsupported"),
        (turns("Q", "x"), "y", "wrong_type"),
    ],
    ids=["no-shared-turn", "one-side-is-prompt", "longer-side", "part-early", "end-with-user", "mixed-forms"],
)
def test_implicit_conversations_without_one_shared_prompt_are_refused(
    chosen: object, rejected: object, code: str
) -> None:
    assert refusal("trl", {"chosen": chosen, "rejected": rejected}).code == code


def test_a_side_of_several_new_messages_is_refused() -> None:
    error = refusal("trl", {"prompt": "Q", "chosen": turns("P", "x", "P2", "z"), "rejected": "y"})
    assert error.code == "unsupported"


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected"),
    [
        ("The sky is", " blue.", " green."),
        # "is blu" is shared, too: the cut goes back to the white space before it.
        ("The sky is", " bluish.", " blue-green."),
        ("Say hi.", "\nHello", " Bye"),
        ("Say hi.", "\n\nHello", "\n\nHallo"),
        ("Wie heißt", " du?", " dü?"),
        ("cafe", " e\u0301t", " e\u0300t"),
        ("Count", " 👩‍👩‍👧", " 👩‍👩‍👦"),
        ("\n\nHuman: one two\n\nAssistant:", " I think yes", " I think no"),
    ],
)
def test_implicit_strings_are_cut_at_white_space_and_never_inside_a_word(
    prompt: str, chosen: str, rejected: str
) -> None:
    pair = read_pair("trl", {"chosen": prompt + chosen, "rejected": prompt + rejected})
    assert (pair.prompt[0].content, pair.chosen, pair.rejected) == (prompt, chosen, rejected)


@pytest.mark.parametrize(
    ("chosen", "rejected", "code"),
    [
        ("Yes", "No", "no_prompt"),
        ("Hello world", "Hello, world", "no_prompt"),
        (" yes", " no", "no_prompt"),
        ("天気は晴れ", "天気は雨", "no_prompt"),
        ("The sky is", "The sky is blue", "no_response"),
        ("The sky is blue", "The sky", "no_response"),
        ("", "x", "no_response"),
        ("same", "same", "identical"),
    ],
)
def test_implicit_strings_without_a_boundary_are_refused(chosen: str, rejected: str, code: str) -> None:
    assert refusal("trl", {"chosen": chosen, "rejected": rejected}).code == code


# --- benchmarks --------------------------------------------------------------------------------------------


def test_judgebench_reads_text_scores_or_decisions_in_the_order_shown() -> None:
    def judgment(decision: str | None, **inner: Any) -> dict[str, Any]:
        return {"judgment": {"judge_model": "m", "prompt": "", "response": "", **inner}, "decision": decision}

    def recorded(*judgments: Any) -> object:
        (row,) = read("judgebench", example("judgebench", judgments=list(judgments)))
        return row.recorded

    assert recorded(judgment("A>B", response="[[A>B]]"), judgment("B>A", response="[[B>A]]")) == {
        Order.AB: (Recorded("text", text="[[A>B]]"),),
        Order.BA: (Recorded("text", text="[[B>A]]"),),
    }
    assert recorded(judgment("A>B", scores=[1.5, 1]), judgment("B>A", scores=[1, 1.5])) == {
        Order.AB: (Recorded("score", scores=(1.5, 1.0)),),
        Order.BA: (Recorded("score", scores=(1.0, 1.5)),),
    }
    assert recorded(judgment("A=B"), judgment(None)) == {
        Order.AB: (Recorded("decision", decision=Verdict("tie")),),
        Order.BA: (Recorded("decision", decision=None),),
    }
    assert recorded(None, judgment("B>A")) == {Order.BA: (Recorded("decision", decision=Verdict("B")),)}
    assert refusal("judgebench", example("judgebench", judgments=[judgment("A")])).code == "bad_label"
    assert (
        refusal("judgebench", example("judgebench", judgments=[judgment("A>B", scores=[1])])).code
        == "wrong_type"
    )


def test_judgebench_keeps_source_as_subset() -> None:
    record = read_comparison("judgebench", example("judgebench"))
    assert (record.subset, record.meta) == (
        "livebench-math",
        {"original_id": None, "response_model": "some-model"},
    )


def test_llmbar_reads_the_last_round() -> None:
    first = {"swap = False": {"completion": ["old", "stop"], "winner": "1"}}
    last = {
        "swap = False": {"completion": ["Output (a) is better.", "stop"], "winner": "1"},
        "swap = True": {"completion": ["Output (b)", "length"], "winner": "1"},
    }
    (row,) = read("llmbar", example("llmbar", results=[first, last]))
    assert row.recorded == {
        Order.AB: (Recorded("text", text="Output (a) is better.", credited="A"),),
        Order.BA: (Recorded("text", text="Output (b)", finish_reason="length", credited="B"),),
    }
    assert refusal("llmbar", example("llmbar", results=[])).code == "wrong_type"


def test_llmbar_keeps_what_the_script_read_where_the_file_says_it() -> None:
    answers = [{"winner": None}, {"winner": "2"}, {}]
    last = [{"swap = True": {"completion": ["Output (a)", "stop"], **answer}} for answer in answers]
    rows = [read("llmbar", example("llmbar", results=[answer]))[0] for answer in last]
    assert [row.recorded[Order.BA][0].credited for row in rows] == ["none", "A", None]
    for wrong in ("3", 1, ["1"], "A"):
        answer = {"swap = True": {"completion": ["Output (a)", "stop"], "winner": wrong}}
        assert refusal("llmbar", example("llmbar", results=[answer])).code == "wrong_type"


@pytest.mark.parametrize(
    ("ratings", "winners", "shown"),
    [
        (("4", "2"), ("1", "1"), ((4.0, 2.0), (2.0, 4.0))),
        ((" 3 ", "3"), ("2", "1"), ((3.0, 3.0), (3.0, 3.0))),
        (("Rating: 4", "2"), ("1", "2"), None),
    ],
    ids=["different", "equal", "no number"],
)
def test_llmbar_rates_each_output_alone(
    ratings: tuple[str, str], winners: tuple[str, str], shown: tuple[tuple[float, float], ...] | None
) -> None:
    """The script credits equal ratings, and ratings that it cannot read, by their order alone."""
    last = {f"score_{n}": [text, "stop"] for n, text in enumerate(ratings, 1)}
    last |= {
        f"swap = {swap}": {"winner": winner} for swap, winner in zip((False, True), winners, strict=True)
    }
    (row,) = read("llmbar", example("llmbar", results=[["metrics", "stop"], last]))
    found = [row.recorded[order][0] for order in (Order.AB, Order.BA)]
    kinds = ["decision", "decision"] if shown is None else ["score", "score"]
    assert [recorded.kind for recorded in found] == kinds
    assert [recorded.scores for recorded in found] == list(shown or ((), ()))
    own = {"1": ("A", "B"), "2": ("B", "A")}
    assert [recorded.credited for recorded in found] == [own[w][n] for n, w in enumerate(winners)]


def test_rm_bench_expands_to_nine_cells() -> None:
    rows = read("rm-bench", example("rm-bench"))
    assert [row.id for row in rows[:4]] == ["chat/8/c0r0", "chat/8/c0r1", "chat/8/c0r2", "chat/8/c1r0"]
    assert {row.group for row in rows} == {"chat/8"}
    cell = rows[5]
    assert isinstance(cell, PreferencePair)
    assert (cell.chosen, cell.rejected) == ("A spider has eight legs.", "A spider has **six** legs.")
    assert cell.meta == {"subset": "alpacaeval", "cell": [1, 2]}


@pytest.mark.parametrize(
    ("changes", "domain"),
    [
        ({"subset": "xstest-should-refuse"}, "safety"),
        ({"subset": "refusals-dangerous"}, "safety"),
        ({"subset": "hep-python"}, "code"),
        ({"subset": "mystery-set"}, "mystery-set"),
        ({"subset": "x", "domain": "safety-response"}, "safety"),
        ({"domain": "math"}, "math"),
        ({"subset": None}, None),
    ],
)
def test_rm_bench_domains(changes: dict[str, Any], domain: str | None) -> None:
    row = read("rm-bench", example("rm-bench", **changes))[0]
    assert (row.subset, row.group) == (domain, "8" if domain is None else f"{domain}/8")


def test_rm_bench_needs_three_and_three() -> None:
    assert refusal("rm-bench", example("rm-bench", rejected=["x", "y"])).code == "wrong_count"
    assert refusal("rm-bench", example("rm-bench", chosen=["x", True, "y"])).message.startswith(
        "field 'chosen[1]'"
    )
    without = example("rm-bench")
    del without["id"]
    assert len({row.id for row in read("rm-bench", without)}) == 9
    assert get("rm-bench").derives_id(without)


def test_hh_rlhf_splits_at_the_last_assistant_turn() -> None:
    pair = read_pair("hh-rlhf", example("hh-rlhf"))
    assert pair.prompt == (Message("user", "Hi"), Message("assistant", "Hello!"), Message("user", "2+2?"))
    assert (pair.chosen, pair.rejected) == ("Four.", "Five.")


@pytest.mark.parametrize(
    ("chosen", "rejected", "code"),
    [
        ("\n\nHuman: a\n\nAssistant: x", "\n\nHuman: b\n\nAssistant: y", "prompt_mismatch"),
        ("\n\nHuman: a\n\nAssistant: x\n\nHuman: b", "\n\nHuman: a\n\nAssistant: y", "no_response"),
        ("\n\nHuman: a", "\n\nHuman: a\n\nAssistant: y", "bad_transcript"),
    ],
)
def test_hh_rlhf_refuses_transcripts_without_a_shared_prompt(chosen: str, rejected: str, code: str) -> None:
    assert refusal("hh-rlhf", {"chosen": chosen, "rejected": rejected}).code == code


def test_hh_rlhf_keeps_an_empty_reply() -> None:
    pair = read_pair(
        "hh-rlhf", {"chosen": "\n\nHuman: a\n\nAssistant:", "rejected": "\n\nHuman: a\n\nAssistant: y"}
    )
    assert (pair.chosen, pair.rejected) == ("", "y")


def test_rewardbench_keeps_models_and_reads_prompts_as_lists() -> None:
    pair = read_pair("rewardbench", example("rewardbench", prompt=turns("Q", "r", "Q2")))
    assert [turn.content for turn in pair.prompt] == ["Q", "r", "Q2"]
    assert (pair.id, pair.subset) == ("math-prm/12", "math-prm")
    own = read_pair("rewardbench", example("rewardbench", id="q"))
    assert own.id == "q"
    assert pair.meta == {"chosen_model": "model-a", "rejected_model": "model-b"}


def test_prometheus_cuts_sections() -> None:
    pair = read_pair("prometheus-hhh", example("prometheus-hhh"))
    assert pair.prompt == (Message("user", "Say hello politely."),)
    assert (pair.chosen, pair.rejected) == ("Good morning to you.", "What now?")
    assert pair.rubric == Rubric(text="[Is it polite?]\nScore 1: rude.\nScore 5: polite.")
    assert (pair.subset, pair.reference) == ("helpful", None)
    scored = read_candidates("prometheus-absolute", example("prometheus-absolute"))
    assert (scored.responses, scored.reference) == (("Good day.",), "Good morning to you.")
    assert scored.meta["gpt4_score"] == [3, 2, 3]


@pytest.mark.parametrize(
    ("scores", "median"), [([3, 2, 3], 3), ([5, 1, 1], 1), ([1, 4, 2], 2), ([4, 4, 4], 4)]
)
def test_the_gold_score_is_the_median(scores: list[int], median: int) -> None:
    assert (
        read_candidates("prometheus-absolute", example("prometheus-absolute", gpt4_score=scores)).label
        == median
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"gpt4_score": [3, 2]}, "wrong_type"),
        ({"gpt4_score": [3, 2, True]}, "wrong_type"),
        ({"gpt4_score": [3, 2, -1]}, "bad_label"),
        ({"instruction": "Judge this."}, "missing_section"),
    ],
)
def test_prometheus_scores_and_sections_are_checked(changes: dict[str, Any], code: str) -> None:
    assert refusal("prometheus-absolute", example("prometheus-absolute", **changes)).code == code


def test_prometheus_sides_must_agree_outside_the_response() -> None:
    other = example("prometheus-hhh")["rejected_instruction"].replace("Say hello", "Say goodbye")
    assert (
        refusal("prometheus-hhh", example("prometheus-hhh", rejected_instruction=other)).code
        == "prompt_mismatch"
    )


@pytest.mark.parametrize(("shown_as_b", "order"), [(True, Order.BA), (False, Order.AB)])
def test_rm_r1_traces_belong_to_the_order_that_was_shown(shown_as_b: bool, order: Order) -> None:
    row = example("rm-r1-logs", Is_Chosen_Answer_Shuffled_toPositionB=shown_as_b)
    (record,) = read("rm-r1-logs", row)
    assert list(record.recorded) == [order]
    assert record.subset == "Pairwise_set/Helpfulness/Chat"
    row["Is_Chosen_Answer_Shuffled_toPositionB"] = "yes"
    assert refusal("rm-r1-logs", row).code == "wrong_type"
