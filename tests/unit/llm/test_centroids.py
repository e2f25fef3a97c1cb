"""Centroids of task types, computed on vectors without texts."""

from __future__ import annotations

import random
from math import hypot

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kairos.llm.routing.centroids import (
    LEARN_ALL,
    LEARN_EVERY,
    MAX_EXAMPLES,
    MAX_TYPES,
    MIN_EXAMPLES,
    Centroid,
    Classifier,
    ProjectCentroids,
    merged,
    merged_all,
)

numbers = st.integers(-100, 100).map(float)
vectors = (
    st.lists(numbers, min_size=4, max_size=4)
    .filter(lambda v: hypot(*v) > 1)
    .map(lambda v: tuple(x / hypot(*v) for x in v))
)
several = st.lists(vectors, min_size=1, max_size=12)


@given(several, st.randoms(use_true_random=False))
def test_examples_add_up_in_any_order(examples, draws: random.Random):
    """Replicas reach the same centroid in any order of writes."""
    one_by_one = None
    for vector in draws.sample(examples, len(examples)):
        one = Centroid.of([vector])
        one_by_one = merged(one_by_one, one) if one_by_one else one
    at_once = Centroid.of(examples)
    assert one_by_one is not None
    assert one_by_one.count == at_once.count == len(examples)
    assert list(one_by_one.sum) == pytest.approx(list(at_once.sum), abs=1e-9)


@given(several, several)
def test_number_of_examples_of_a_centroid_is_limited(old, new):
    limit = 6.0
    kept = Centroid.of(old[:6])
    both = merged(kept, Centroid.of(new[:6]), limit)
    assert both.count <= limit + 1e-9
    if len(old[:6]) + len(new[:6]) <= limit:
        assert list(both.sum) == pytest.approx(list(Centroid.of(old[:6] + new[:6]).sum), abs=1e-9)


def test_centroid_follows_a_changed_meaning():
    before, after = (1.0, 0.0), (0.0, 1.0)
    centroid = Centroid(MAX_EXAMPLES, (MAX_EXAMPLES, 0.0))
    for _ in range(int(3 * MAX_EXAMPLES)):
        centroid = merged(centroid, Centroid.of([after]))
    assert centroid.count == pytest.approx(MAX_EXAMPLES)
    assert centroid.sum[before.index(1.0)] < 0.06 * MAX_EXAMPLES < 0.9 * MAX_EXAMPLES < centroid.sum[after.index(1.0)]


@given(st.dictionaries(st.sampled_from("abcde"), vectors, min_size=2))
def test_prompt_equal_to_a_labelled_one_gets_its_type_or_none(prompts: dict[str, tuple[float, ...]]):
    assume(len(set(prompts.values())) == len(prompts))
    classifier = Classifier({name: Centroid.of([vector] * MIN_EXAMPLES) for name, vector in prompts.items()})
    for name, vector in prompts.items():
        guess = classifier.guess(vector)
        assert guess.name == name or guess.margin < 1e-6


@given(st.dictionaries(st.sampled_from("abcde"), several, min_size=2), vectors, st.randoms(use_true_random=False))
def test_same_centroids_give_the_same_guess(examples: dict[str, list[tuple[float, ...]]], vector, draws):
    centroids = {name: merged(Centroid.of(given), Centroid.of(given * 5)) for name, given in examples.items()}
    shuffled = dict(draws.sample(sorted(centroids.items()), len(centroids)))
    assume(all(centroid.count >= MIN_EXAMPLES for centroid in centroids.values()))
    assert Classifier(centroids).guess(vector) == Classifier(shuffled).guess(vector)


def test_direction_common_to_all_types_is_ignored():
    """Two types that share most of their direction are distinguished by the rest."""
    classifier = Classifier({"a": Centroid.of([(0.9, 0.436, 0.0)] * 5), "b": Centroid.of([(0.9, 0.0, 0.436)] * 5)})
    guess = classifier.guess((0.95, 0.31, 0.0))
    assert guess.name == "a"
    assert guess.margin > 0.9


def test_type_with_few_examples_is_not_guessed():
    known = {name: Centroid.of([vector] * MIN_EXAMPLES) for name, vector in (("a", (1.0, 0.0)), ("b", (0.0, 1.0)))}
    few = {**known, "c": Centroid.of([(-1.0, 0.0)] * (MIN_EXAMPLES - 1))}
    assert Classifier(few).guess((-1.0, 0.0)).name != "c"
    assert not Classifier({"a": known["a"]}).ready


def test_only_a_sample_of_many_examples_is_learned():
    project = ProjectCentroids(shared={"code": Centroid(LEARN_ALL - 1, (1.0,))})
    assert project.should_learn("code")
    project.learn("code", Centroid.of([(1.0,)]))
    assert sum(project.should_learn("code") for _ in range(100)) == 100 / LEARN_EVERY
    assert project.should_learn("new")


def test_number_of_unwritten_types_is_limited():
    project = ProjectCentroids()
    for number in range(MAX_TYPES + 10):
        project.learn(f"job {number}", Centroid.of([(1.0, 0.0)]))
    assert len(project.unwritten) == MAX_TYPES
    project.learn("job 0", Centroid.of([(1.0, 0.0)]))
    assert project.unwritten["job 0"].count == 2


def test_unwritten_examples_are_added_to_the_shared_ones():
    project = ProjectCentroids()
    project.learn("code", Centroid.of([(1.0, 0.0)]))
    project.replace_shared({"code": Centroid(4, (0.0, 4.0)), "math": Centroid(5, (5.0, 0.0))}, now=1)
    assert project.classifier.ready, "code has four shared examples and one unwritten"
    assert merged_all(project.shared, project.unwritten)["code"].count == 5
