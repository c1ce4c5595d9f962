import pytest

from gateway.config import TagsConfig
from gateway.scheduling.tagging import Tagging

GRAPH = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd_xl_base.safetensors"}},
    "2": {"class_type": "KSampler", "inputs": {"steps": 20, "model": ["1", 0], "tiled": True}},
}


def tags(*rules):
    return Tagging(TagsConfig.model_validate({"rules": rules}).rules).tags_of(GRAPH)


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ({"class_type": "KSampler"}, True),
        ({"class_type": "KSamp"}, False),  # a pattern fits the whole
        ({"class_type": "K.*"}, True),
        ({"inputs": {"ckpt_name": ".*xl.*"}}, True),
        ({"inputs": {"steps": "2[0-9]"}}, True),
        ({"inputs": {"tiled": "true"}}, True),
        ({"inputs": {"model": ".*"}}, False),  # a link has no value
        ({"inputs": {"missing": ".*"}}, False),
        ({"class_type": "KSampler", "inputs": {"ckpt_name": ".*"}}, False),  # all of it in one node
    ],
)
def test_a_rule_fits_where_one_node_is_as_it_says(when, fits):
    assert tags({"when": when, "add": ["a"]}) == (("a",) if fits else ())


def test_all_rules_that_fit_add_theirs_each_once():
    rules = [{"when": {"class_type": kind}, "add": added} for kind, added in (("K.*", ["a", "b"]), (".*", ["b", "c"]))]
    assert tags(*rules) == ("a", "b", "c")


@pytest.mark.parametrize("rule", [{"when": {}, "add": ["a"]}, {"when": {"class_type": "("}, "add": ["a"]}, {"add": []}])
def test_a_rule_that_is_none_is_a_fault(rule):
    with pytest.raises(ValueError, match="validation error"):
        TagsConfig.model_validate({"rules": [rule]})
