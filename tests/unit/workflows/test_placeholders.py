from copy import deepcopy
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.workflows.placeholders import (
    DEEPEST,
    Field,
    Kind,
    Placeholder,
    WorkflowRefused,
    asked_for,
    check_fields,
    fill,
    graph_of,
    placeholder_of,
    placeholders,
)

NOW = 1_700_000_000_123
keys = st.text(st.characters(exclude_characters="()"), min_size=1, max_size=20)
file_keys = st.from_regex(r"[a-cX-Z019_-]{1,9}(\.[a-cX-Z019_-]{1,5})?", fullmatch=True)
drawn = st.sampled_from([Placeholder(Kind.RANDOM), Placeholder(Kind.TIMESTAMP)])
given_ones = st.one_of(
    keys.map(lambda key: Placeholder(Kind.TEXT, key)),
    keys.map(lambda key: Placeholder(Kind.CHOICE, key)),
    file_keys.map(lambda key: Placeholder(Kind.FILE, key)),
)
any_placeholder = st.one_of(given_ones, drawn)
plain = st.one_of(
    st.text().filter(lambda text: "(" not in text), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none()
)
values = st.recursive(
    st.one_of(plain, any_placeholder.map(lambda each: each.literal)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
nodes = st.fixed_dictionaries(
    {"class_type": st.just("Node"), "inputs": st.dictionaries(st.text(max_size=8), values, max_size=4)}
)
graphs = st.dictionaries(st.text(min_size=1, max_size=4), nodes, min_size=1, max_size=4)


def node(**inputs):
    return {"class_type": "Node", "inputs": inputs}


def run(graph, values=None, seed=1):
    return fill(graph, values or {}, random=Random(seed), timestamp_ms=NOW)


def values_for(graph, value="filled"):
    return {each.literal: value for each in asked_for(graph)}


def fields_for(graph):
    return [Field(each.field, each.kind is Kind.FILE) for each in asked_for(graph)]


class TestTheRules:
    def test_each_kind_becomes_what_it_says(self):
        graph = {
            "1": node(text="$text(prompt)", image="$file(photo)", sampler="#choice(sampler)", seed="$random()"),
            "2": node(time="$timestamp()", model=["1", 0], steps=20),
        }
        filled = run(graph, {"$text(prompt)": "a cat", "$file(photo)": "w/p.png", "#choice(sampler)": "euler"})
        assert filled["1"]["inputs"] == {
            "text": "a cat",
            "image": "w/p.png",
            "sampler": "euler",
            "seed": Random(1).getrandbits(64),
        }
        assert filled["2"]["inputs"] == {"time": NOW, "model": ["1", 0], "steps": 20}

    @pytest.mark.parametrize(
        "text",
        [
            "prefix_$random()",
            "$random() ",
            "$random(5)",
            "$timestamp(x)",
            "$text(a) and $text(b)",
            "$text(a",
            "$TEXT(a)",
            "$choice(a)",
            "#text(a)",
            "$unknown(a)",
            "\n$text(a)",
            "$text(a)\n",
        ],
    )
    def test_anything_but_a_whole_placeholder_is_text(self, text):
        graph = {"1": node(value=text)}
        assert placeholders(graph) == []
        assert run(graph) == graph

    @pytest.mark.parametrize(
        "literal", ["$file(a/b)", "$file(a b)", "$file(ä)", "$file(..)", "$file(.a)", "$file()", "$text()", "#choice()"]
    )
    def test_a_key_that_breaks_the_rules_is_refused_by_name(self, literal):
        with pytest.raises(WorkflowRefused) as refused:
            placeholder_of(literal)
        assert literal in str(refused.value)

    @pytest.mark.parametrize("kind", [Kind.TEXT, Kind.FILE, Kind.CHOICE])
    def test_a_key_has_up_to_255_characters(self, kind):
        longest = "k" * 255
        assert placeholder_of(f"{kind}({longest})") == Placeholder(kind, longest)
        with pytest.raises(WorkflowRefused, match="255"):
            placeholder_of(f"{kind}({longest}k)")

    def test_file_names_with_a_dot_are_taken(self):
        assert placeholder_of("$file(input_image.png)") == Placeholder(Kind.FILE, "input_image.png")

    def test_only_inputs_are_looked_at(self):
        graph = {"$text(a)": {"class_type": "$text(b)", "inputs": {"$text(c)": 1}, "_meta": {"title": "$text(d)"}}}
        assert placeholders(graph) == []
        assert run(graph) == graph

    def test_placeholders_count_at_any_depth_of_an_input(self):
        graph = {"1": node(lines={"__value__": ["$text(a)", {"deep": ["$text(b)"]}]})}
        assert run(graph, {"$text(a)": "x", "$text(b)": "y"}) == {
            "1": node(lines={"__value__": ["x", {"deep": ["y"]}]})
        }

    def test_an_input_that_is_nested_too_deeply_is_refused(self):
        value = "$text(a)"
        for _ in range(DEEPEST + 1):
            value = [value]
        with pytest.raises(WorkflowRefused, match="nested"):
            placeholders({"1": node(value=value)})

    def test_a_text_that_looks_like_a_placeholder_stays_text(self):
        assert run({"1": node(a="$text(a)")}, {"$text(a)": "$random()"}) == {"1": node(a="$random()")}


class TestTheFields:
    asked = (Placeholder(Kind.TEXT, "prompt"), Placeholder(Kind.FILE, "photo"), Placeholder(Kind.CHOICE, "sampler"))
    whole = (Field("$prompt"), Field("$photo", is_file=True), Field("#sampler"))

    def test_each_placeholder_with_its_field_is_fine(self):
        check_fields(self.asked, self.whole)
        check_fields([], [])

    @pytest.mark.parametrize("left_out", whole)
    def test_a_missing_field_is_named(self, left_out):
        with pytest.raises(WorkflowRefused) as refused:
            check_fields(self.asked, [field for field in self.whole if field != left_out])
        assert f"missing {'file ' if left_out.is_file else ''}field {left_out.name}:" in str(refused.value)

    @pytest.mark.parametrize("more", [Field("$other"), Field("#prompt"), Field("$sampler"), Field("$x", is_file=True)])
    def test_an_unknown_field_is_named(self, more):
        with pytest.raises(WorkflowRefused) as refused:
            check_fields(self.asked, [*self.whole, more])
        assert f"unknown field {more.name}:" in str(refused.value)

    def test_a_field_given_twice_is_named(self):
        with pytest.raises(WorkflowRefused, match=r"field \$prompt is given twice"):
            check_fields(self.asked, [*self.whole, Field("$prompt")])

    def test_a_text_for_a_file_and_a_file_for_a_text_are_told(self):
        with pytest.raises(WorkflowRefused, match=r"field \$photo is a text; \$file\(photo\) needs a file"):
            check_fields(self.asked, [Field("$prompt"), Field("$photo"), Field("#sampler")])
        with pytest.raises(WorkflowRefused, match=r"field \$prompt is a file; \$text\(prompt\) needs a text"):
            check_fields(self.asked, [Field("$prompt", is_file=True), *self.whole[1:]])

    def test_a_text_and_a_file_may_have_the_same_name(self):
        asked = [Placeholder(Kind.TEXT, "a"), Placeholder(Kind.FILE, "a")]
        check_fields(asked, [Field("$a"), Field("$a", is_file=True)])


class TestTheGraph:
    def test_an_api_graph_is_taken_as_it_is(self):
        graph = {"1": node(a=1), "2": {"class_type": "Bare"}}
        assert graph_of(graph) is graph

    def test_what_the_editor_saves_is_told_apart(self):
        with pytest.raises(WorkflowRefused, match=r"editor's format.*Export \(API\)"):
            graph_of({"last_node_id": 3, "nodes": [{"id": 1, "type": "KSampler"}], "links": [], "version": 0.4})

    @pytest.mark.parametrize("value", [None, 3, "x", [], [node()], {}, {"1": 3}, {"1": {}}, {"1": {"class_type": 3}}])
    def test_anything_else_is_refused(self, value):
        with pytest.raises(WorkflowRefused, match="body"):
            graph_of(value, "body")

    def test_inputs_that_are_no_object_are_refused_by_node(self):
        with pytest.raises(WorkflowRefused, match="'7'"):
            graph_of({"7": {"class_type": "Node", "inputs": [1]}})


class TestWhateverTheGraph:
    @given(graphs, st.integers(0, 2**63), st.integers(0, 2**50))
    def test_the_same_random_and_clock_give_the_same_graph(self, graph, seed, now):
        before = deepcopy(graph)
        made = [fill(graph, values_for(graph), random=Random(seed), timestamp_ms=now) for _ in range(2)]
        assert made[0] == made[1]
        assert graph == before

    @given(graphs)
    def test_nothing_stays_to_be_filled_in_and_nothing_else_changes(self, graph):
        filled = run(graph, values_for(graph))
        assert placeholders(filled) == []
        if not placeholders(graph):
            assert filled == graph
        assert list(filled) == list(graph)
        assert all(list(filled[key]["inputs"]) == list(graph[key]["inputs"]) for key in graph)

    @given(graphs)
    def test_the_fields_that_are_asked_for_are_the_fields_that_suit(self, graph):
        fields = fields_for(graph)
        check_fields(asked_for(graph), fields)
        for left_out in fields:
            with pytest.raises(WorkflowRefused) as refused:
                check_fields(asked_for(graph), [field for field in fields if field != left_out])
            assert left_out.name in str(refused.value)

    @given(st.integers(1, 40), st.integers(0, 2**63))
    def test_every_random_number_is_another_one_of_64_bits_and_the_time_is_one(self, count, seed):
        graph = {str(place): node(seed="$random()", time="$timestamp()") for place in range(count)}
        filled = run(graph, seed=seed)
        seeds = [each["inputs"]["seed"] for each in filled.values()]
        assert len(set(seeds)) == count
        assert all(0 <= each < 2**64 for each in seeds)
        assert {each["inputs"]["time"] for each in filled.values()} == {NOW}

    @given(st.text(), given_ones)
    def test_a_value_comes_out_as_it_went_in(self, value, placeholder):
        assert run({"1": node(a=placeholder.literal)}, {placeholder.literal: value}) == {"1": node(a=value)}

    @given(any_placeholder, st.text(min_size=1), st.booleans())
    def test_within_a_longer_text_it_is_text(self, placeholder, more, before):
        text = more + placeholder.literal if before else placeholder.literal + more
        graph = {"1": node(a=text)}
        assert run(graph) == graph
