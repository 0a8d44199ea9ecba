"""Orders and steps against brute force on small encoders, and by hand."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.anatomy import Anatomy
from pipeline.model.surgery import cut
from pipeline.study.records import Masks, Scores
from pipeline.trial.curve.allocation import choose, curve_steps, removal_order

LAYERS, HEADS, NEURONS = 3, 4, 64
SHAPES = {
    "heads": (LAYERS, HEADS),
    "attention": (LAYERS,),
    "neurons": (LAYERS, NEURONS),
    "ffn": (LAYERS,),
    "layers": (LAYERS,),
}
FILLED = [
    {"heads", "ffn"},
    {"attention", "ffn"},
    {"heads", "neurons"},
    {"neurons"},
    {"attention"},
    {"layers"},
]


@pytest.fixture(scope="module")
def anatomies(make_model) -> dict[str, Anatomy]:
    """A dense network, and one that an earlier round has cut."""
    model, dense = make_model("bert", layers=LAYERS)
    masks = Masks.full(LAYERS, HEADS, NEURONS)
    masks.heads[0, :2] = masks.heads[1] = masks.neurons[2] = masks.neurons[0, ::3] = False
    return {"dense": dense, "cut": cut(*copy.deepcopy((model, dense)), masks)}


@st.composite
def random_scores(draw) -> Scores:
    """Any level; small integers, so that there are ties, or reals."""
    filled = draw(st.sampled_from(FILLED))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ties = draw(st.booleans())
    return Scores(
        **{
            kind: generator.integers(0, 4, SHAPES[kind]).astype(float)
            if ties
            else generator.normal(size=SHAPES[kind])
            for kind in filled
        }
    )


def order_of(scores: Scores, anatomy: Anatomy, *, per_parameter: bool = False, least: int = 0):
    return removal_order(scores, anatomy, score_per_parameter=per_parameter, min_attention_blocks=least)


def units(order) -> list[tuple[str, int, int | None]]:
    return [(removal.kind, removal.layer, removal.index) for removal in order]


def gone(anatomy: Anatomy, removals) -> Masks:
    """Brute force: one removal after the other."""
    masks = anatomy.present
    for removal in removals:
        everything = slice(None) if removal.index is None else removal.index
        if removal.kind in ("head", "attention", "layer"):
            masks.heads[removal.layer, everything] = False
        if removal.kind in ("neuron", "ffn", "layer"):
            masks.neurons[removal.layer, everything] = False
        if removal.kind == "layer":
            masks.layers[removal.layer] = False
    return masks


def test_units_go_by_score_then_layer_then_kind(anatomies):
    scores = Scores(attention=np.array([0.5, 0.1, 0.5]), ffn=np.array([0.5, 0.7, 0.0]))
    assert units(order_of(scores, anatomies["dense"])) == [
        ("ffn", 2, None),
        ("attention", 1, None),
        ("attention", 0, None),
        ("ffn", 0, None),
        ("attention", 2, None),
        ("ffn", 1, None),
    ]


def test_the_last_attention_blocks_stay(anatomies):
    scores = Scores(attention=np.array([0.3, 0.1, 0.2]), ffn=np.array([0.9, 0.8, 0.7]))
    two = units(order_of(scores, anatomies["dense"], least=2))
    assert two == [("attention", 1, None), ("ffn", 2, None), ("ffn", 1, None), ("ffn", 0, None)]


def test_at_head_level_a_block_s_last_head_stays(anatomies):
    scores = Scores(heads=np.arange(12.0).reshape(3, 4))
    order = order_of(scores, anatomies["dense"], least=1)
    assert units(order) == [("head", layer, head) for layer in range(3) for head in range(4)][:-1]
    order = order_of(scores, anatomies["dense"], least=2)
    # layer 1 ends up with its best head, layer 2 likewise
    assert units(order) == [("head", x // 4, x % 4) for x in range(12) if x not in (7, 11)]


def test_layers_keep_the_attention_blocks_in_them(anatomies):
    scores = Scores(layers=np.array([2.0, 1.0, 3.0]))
    assert units(order_of(scores, anatomies["dense"], least=1)) == [("layer", 1, None), ("layer", 0, None)]
    # where an earlier round took layer 1's attention, that layer counts for nothing
    assert units(order_of(scores, anatomies["cut"], least=2)) == [("layer", 1, None)]


@given(random_scores(), st.sampled_from(["dense", "cut"]), st.integers(0, HEADS))
def test_a_layer_keeps_its_least_heads_while_it_is_there(anatomies, scores, which, least_heads):
    anatomy = anatomies[which]
    free, held = (
        removal_order(
            scores, anatomy, score_per_parameter=False, min_attention_blocks=0, min_heads_per_layer=least
        )
        for least in (0, least_heads)
    )
    left = gone(anatomy, held)
    there = anatomy.present.heads.sum(axis=1)
    kept = left.heads.sum(axis=1)[left.layers]
    assert (kept >= np.minimum(there[left.layers], least_heads)).all()
    assert [removal for removal in free if removal in held] == list(held)  # nothing else has moved
    if scores.layers is not None or least_heads == 0:
        assert free == held


def test_a_floor_of_heads_by_hand(anatomies):
    heads = np.array([[4.0, 1, 2, 3], [5, 6, 7, 8], [9, 10, 11, 12]])
    order = removal_order(
        Scores(heads=heads, ffn=np.full(LAYERS, 20.0)),
        anatomies["dense"],
        score_per_parameter=False,
        min_attention_blocks=1,
        min_heads_per_layer=3,
    )
    assert units(order)[:3] == [("head", 0, 1), ("head", 1, 0), ("head", 2, 0)]
    assert {kind for kind, *_ in units(order)[3:]} == {"ffn"}


def test_score_per_parameter_divides_by_what_is_there(anatomies):
    costs = anatomies["dense"].costs
    scores = Scores(attention=np.ones(3), ffn=np.ones(3))
    dense = {r.kind: r.score for r in order_of(scores, anatomies["dense"], per_parameter=True)}
    assert dense == {"attention": 1 / costs.attention, "ffn": 1 / costs.ffn}
    after = order_of(scores, anatomies["cut"], per_parameter=True)
    assert {(r.kind, r.layer): r.score for r in after} == {
        ("attention", 0): 1 / (2 * costs.head + 32),
        ("attention", 2): 1 / costs.attention,
        ("ffn", 0): 1 / (42 * costs.neuron + 32),
        ("ffn", 1): 1 / costs.ffn,
    }


def test_what_was_cut_is_not_ranked_and_may_be_nan(anatomies):
    present = anatomies["cut"].present
    heads = np.where(present.heads, 1.0, np.nan)
    ffn = np.where(present.neurons.any(axis=1), 1.0, np.nan)
    order = order_of(Scores(heads=heads, ffn=ffn), anatomies["cut"])
    assert {u for u in units(order) if u[0] == "head"} == {
        ("head", *map(int, unit)) for unit in np.argwhere(present.heads)
    }
    assert {u for u in units(order) if u[0] == "ffn"} == {("ffn", 0, None), ("ffn", 1, None)}


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (Scores(ffn=np.array([1.0, np.nan, 2.0])), "1 ffn have NaN"),
        (Scores(ffn=np.ones(4)), r"shape \(3,\)"),
    ],
)
def test_scores_that_do_not_fit_are_refused(anatomies, scores, message):
    with pytest.raises(ValueError, match=message):
        order_of(scores, anatomies["dense"])


@given(
    scores=random_scores(),
    which=st.sampled_from(["dense", "cut"]),
    least=st.integers(0, 3),
    per=st.booleans(),
)
def test_order_is_ascending_complete_and_spares_attention(anatomies, scores, which, least, per):
    anatomy = anatomies[which]
    order = order_of(scores, anatomy, per_parameter=per, least=least)
    assert [r.score for r in order] == sorted(r.score for r in order)
    assert len(set(units(order))) == len(order)
    bare = gone(anatomy, order)
    blocks_before = anatomy.present.heads.any(axis=1).sum()
    assert bare.heads.any(axis=1).sum() >= min(least, blocks_before)
    if least == 0:
        ranked = {"heads": bare.heads, "attention": bare.heads, "neurons": bare.neurons, "ffn": bare.neurons}
        for kind in SHAPES:
            if getattr(scores, kind) is not None:
                assert not ranked.get(kind, bare.layers).any()


@given(
    scores=random_scores(),
    which=st.sampled_from(["dense", "cut"]),
    target=st.floats(0, 1),
    least=st.integers(0, 2),
)
def test_a_target_is_the_first_step_that_reaches_it(anatomies, scores, which, target, least):
    anatomy = anatomies[which]
    order = order_of(scores, anatomy, least=least)
    step = choose(order, anatomy, target=target)
    compressions = [anatomy.costs.compression(gone(anatomy, order[:n])) for n in range(len(order) + 1)]
    reaching = [n for n, compression in enumerate(compressions) if compression >= target]
    assert step.removed == (reaching[0] if reaching else len(order))
    assert step.compression == compressions[step.removed]
    assert step.masks.same(gone(anatomy, order[: step.removed]))


@given(
    scores=random_scores(),
    which=st.sampled_from(["dense", "cut"]),
    thresholds=st.tuples(st.floats(-3, 4), st.floats(-3, 4)),
)
def test_masks_nest_as_the_threshold_rises(anatomies, scores, which, thresholds):
    anatomy = anatomies[which]
    order = order_of(scores, anatomy, least=1)
    low, high = (choose(order, anatomy, threshold=threshold) for threshold in sorted(thresholds))
    assert high.masks <= low.masks <= anatomy.present
    assert low.removed == sum(removal.score <= min(thresholds) for removal in order)
    assert low.masks.same(gone(anatomy, order[: low.removed]))


def test_a_threshold_takes_what_equals_it(anatomies):
    order = order_of(Scores(ffn=np.array([0.1, 0.2, 0.2])), anatomies["dense"])
    assert choose(order, anatomies["dense"], threshold=0.2).removed == 3
    assert choose(order, anatomies["dense"], threshold=0.19).removed == 1


@pytest.mark.parametrize("given_", [{}, {"threshold": 0.1, "target": 0.5}, {"target": float("nan")}])
def test_exactly_one_of_threshold_and_target(anatomies, given_):
    order = order_of(Scores(ffn=np.ones(3)), anatomies["dense"])
    with pytest.raises(ValueError, match="Exactly one"):
        choose(order, anatomies["dense"], **given_)


@given(
    scores=random_scores(),
    which=st.sampled_from(["dense", "cut"]),
    most=st.integers(3, 40),
    share=st.one_of(st.none(), st.floats(0, 1)),
)
def test_curves_nest_from_nothing_to_bare(anatomies, scores, which, most, share):
    anatomy = anatomies[which]
    order = order_of(scores, anatomy, least=1)
    include = None if share is None else round(share * len(order))
    curve = curve_steps(order, anatomy, most=most, include=include)
    counts = [step.removed for step in curve]
    assert counts == sorted(set(counts))
    assert len(curve) <= most
    assert {0, len(order)} | ({include} if include is not None else set()) <= set(counts)
    assert curve[0].masks.same(anatomy.present)
    assert curve[0].threshold == -np.inf
    for step in curve:
        assert step.masks.same(gone(anatomy, order[: step.removed]))
        assert step.compression == anatomy.costs.compression(step.masks)
        if step.removed not in (0, include):  # a threshold does not part equals
            assert step.threshold == order[step.removed - 1].score
            assert step.masks.same(choose(order, anatomy, threshold=step.threshold).masks)


def test_a_short_curve_has_every_distinct_step(anatomies):
    scores = Scores(attention=np.array([0.1, 0.2, 0.3]), ffn=np.array([0.2, 0.5, 0.6]))
    order = order_of(scores, anatomies["dense"])
    assert [step.removed for step in curve_steps(order, anatomies["dense"])] == [0, 1, 3, 4, 5, 6]
    with_tie = curve_steps(order, anatomies["dense"], include=2)
    assert [step.removed for step in with_tie] == [0, 1, 2, 3, 4, 5, 6]


def test_a_long_curve_is_even_in_compression(anatomies):
    scores = Scores(neurons=np.random.default_rng(0).normal(size=(LAYERS, NEURONS)))
    anatomy = anatomies["dense"]
    curve = curve_steps(order_of(scores, anatomy), anatomy, most=9)
    assert len(curve) == 9
    widths = np.diff([step.compression for step in curve])
    one_unit = (anatomy.costs.neuron + 32) / anatomy.costs.encoder
    assert np.ptp(widths) <= 2 * one_unit


def test_a_curve_of_nothing_is_one_step(anatomies):
    assert [step.removed for step in curve_steps((), anatomies["dense"])] == [0]


@pytest.mark.parametrize(("most", "include"), [(2, None), (5, -1), (5, 4)])
def test_curves_refuse_what_is_out_of_range(anatomies, most, include):
    order = order_of(Scores(ffn=np.ones(3)), anatomies["dense"])
    with pytest.raises(ValueError, match="include 0 to 3"):
        curve_steps(order, anatomies["dense"], most=most, include=include)


@given(
    scores=random_scores().filter(lambda scores: scores.neurons is not None),
    which=st.sampled_from(["dense", "cut"]),
    threshold=st.floats(-3, 4),
    target=st.floats(0, 1),
)
def test_neurons_that_go_together_leave_multiples(anatomies, scores, which, threshold, target):
    anatomy = anatomies[which]
    began = anatomy.present.neurons.sum(axis=1)
    plain = order_of(scores, anatomy)
    order = removal_order(
        scores, anatomy, score_per_parameter=False, min_attention_blocks=0, neurons_together=8
    )
    assert sorted(units(order), key=str) == sorted(units(plain), key=str)
    alone = choose(plain, anatomy, threshold=threshold)
    by_threshold = choose(order, anatomy, threshold=threshold, neurons_together=8)
    by_target = choose(order, anatomy, target=target, neurons_together=8)
    for step in (by_threshold, by_target, *curve_steps(order, anatomy, most=9)):
        left = step.masks.neurons.sum(axis=1)
        assert ((left % 8 == 0) | (left == began)).all()
    more = by_threshold.masks.neurons.sum(axis=1) - alone.masks.neurons.sum(axis=1)
    assert alone.masks <= by_threshold.masks, "the best neurons stay"
    assert (more < 8).all()
    full = choose(order, anatomy, threshold=np.inf).compression
    assert by_target.compression >= min(target, full)
