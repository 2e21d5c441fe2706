"""What a verdict says, and above all what it does not say."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprox.ranking.assessment import Assessor
from autoprox.ranking.problem import Group
from autoprox.ranking.supervised import SUPERVISED
from autoprox.ranking.verdict import SIZE_PROXY, Finding, verdict
from tests.test_assessment import ground

GOOD = re.compile(r"beats|better than|knows something")


def figures(
    tau=0.6, ci=(0.4, 0.7), gain=0.1, gain_ci=(0.02, 0.2), p=0.001, size=0.5, partial=(0.1, 0.5), band=(0.1, 0.5)
):
    likeness = {"params": size, "depth * width": 0.6}
    return {
        "n": 40,
        "kendall": tau,
        "kendall_ci": list(ci) if ci else None,
        "difference": gain,
        "difference_ci": list(gain_ci) if gain_ci else None,
        "kendall_params": size,
        "partial_kendall": 0.9,
        "partial_kendall_ci": [0.8, 1.0],
        "partial_spearman": sum(partial) / 2,
        "partial_spearman_ci": list(partial),
        "band_kendall": sum(band) / 2,
        "band_kendall_ci": list(band),
        "bands": 4,
        "regret_1": 1.25,
        "regret_5": 0.5,
        "p": p,
        "chance": {"regret_1": 4.0, "regret_5": 2.0},
        "against": {
            name: {
                "likeness": tau,
                "kendall": 0.5,
                "difference": gain,
                "difference_ci": list(gain_ci) if gain_ci else None,
                "band_kendall": 0.2,
                "regret_1": 2.0,
                "regret_5": 1.0,
            }
            for name, tau in likeness.items()
        },
    }


def metrics(mean, *pairs):
    return {"s": {f"{i}": pair for i, pair in enumerate(pairs or (mean,))}, "joint": {"mean": mean}}


def texts(found: tuple[Finding, ...]) -> dict[str, str]:
    return {finding.about: finding.text for finding in found}


def test_a_good_proxy():
    sure, ahead, behind = figures(), figures(gain=0.05, gain_ci=(-0.01, 0.1)), figures(gain=-0.05, gain_ci=(-0.1, 0.01))
    found = verdict(metrics(figures(), sure, ahead, ahead, behind), ceiling=0.86)
    assert texts(found) == {
        "luck": "ranks better than luck: mean τ .600 [.400, .700], permutation p 0.001",
        "params": "beats the parameter count on average: +.100 [+.020, +.200]; ahead on 3 of 4 (interval excludes 0 on 1)",
        "references": "beats depth * width",
        "beyond": "knows something beyond the parameter count: partial ρ .300 [.100, .500]; τ inside 4 parameter bands .300 "
        "[.100, .500], where the parameter count has .200",
        "choice": "its first choice is 1.2 accuracy points below the best (parameter count 2.0, chance 4.0), "
        "the best of its first five 0.5 (1.0, 2.0)",
        "ceiling": "the noise of training leaves an estimated τ .860 to be reached at most; it has .600",
    }
    assert [finding.good for finding in found] == [True, True, True, True, None, None]


def test_a_size_proxy():
    assert texts(verdict(metrics(figures(size=0.95))))["size"] == "is a size proxy: τ with log-params .950"
    assert texts(verdict(metrics(figures(size=-0.95))))["size"] == "is a size proxy: τ with log-params -.950"
    assert "size" not in texts(verdict(metrics(figures(size=SIZE_PROXY))))
    like = figures()
    like["against"]["depth * width"]["likeness"] = 0.97
    assert texts(verdict(metrics(like)))["size"] == "is a size proxy: τ with depth * width .970"
    like["against"]["other proxy"] = like["against"].pop("depth * width")
    assert "size" not in texts(verdict(metrics(like))), "another proxy is no size"


@pytest.mark.parametrize(
    ("given_", "start"),
    [
        ({"ci": (-0.1, 0.3), "tau": 0.1}, "not distinguishable from luck: τ .100 [-.100, .300], permutation p 0.001"),
        ({"p": 0.06}, "not distinguishable from luck: τ .600"),
        ({"tau": -0.3, "ci": (-0.5, -0.1), "p": 0.99}, "ranks the wrong way round: τ -.300 [-.500, -.100]"),
        (
            {"tau": None, "ci": None, "gain": None, "gain_ci": None},
            "not distinguishable from luck: its rank correlation",
        ),
        ({"p": None}, "ranks better than luck: τ .600 [.400, .700]"),
    ],
)
def test_luck(given_, start):
    found = verdict(metrics(figures(**given_)))
    assert found[0].about == "luck"
    assert found[0].text.startswith(start)
    if not found[0].good:
        assert {finding.about for finding in found} <= {"luck", "size", "params"}, "nothing more is claimed of luck"


def test_what_is_known_beyond_size():
    nothing = texts(verdict(metrics(figures(partial=(-0.1, 0.3)))))["beyond"]
    assert nothing.startswith("nothing beyond the parameter count is shown: partial ρ .100 [-.100, .300]; τ inside 4")
    wrong = texts(verdict(metrics(figures(partial=(-0.3, -0.1)))))["beyond"]
    assert wrong.startswith("at equal parameter counts, ranks the wrong way round: partial ρ -.200 [-.300, -.100]")
    few = figures() | {"band_kendall": None, "band_kendall_ci": None, "bands": None}
    found = texts(verdict(metrics(few)))["beyond"]
    assert found == "knows something beyond the parameter count: partial ρ .300 [.100, .500]"


def test_references_are_grouped_by_what_can_be_said():
    mean = figures()
    spans = {"flops": [0.01, 0.1], "depth": [0.02, 0.3], "snip": [-0.1, 0.1], "width": [-0.2, -0.1], "itself": [0, 0]}
    mean["against"] = {name: mean["against"]["params"] | {"difference_ci": span} for name, span in spans.items()}
    mean["against"][SUPERVISED] = mean["against"]["flops"] | {"difference": -0.2, "difference_ci": [-0.3, -0.1]}
    found = texts(verdict(metrics(mean)))
    assert found["references"] == "beats flops, depth; is not clearly better or worse than snip; is worse than width"
    assert found["supervised"] == "is worse than a ridge fitted to labels (τ .500): -.200 [-.300, -.100]"


def test_unusable_scores_and_one_pair():
    found = verdict(
        {"s": {"a": {"n": 9, "invalid": "constant"}, "b": {"n": 9, "invalid": "constant"}}, "t": {"a": figures()}}
    )
    assert found == (Finding("scores", "has no usable scores on s: constant", False),)
    alone = verdict({"s": {"a": figures()}})
    assert alone == verdict(metrics(figures()))
    assert verdict({"s": {"a": figures(), "b": figures()}}) == (), "without means there is nothing to say about both"
    assert verdict({}) == ()


def test_a_proxy_file_of_an_earlier_version_has_a_verdict_too():
    names = ("kendall", "kendall_ci", "difference", "difference_ci", "partial_kendall", "partial_kendall_ci")
    old = {name: value for name, value in figures(size=0.95).items() if name in (*names, "kendall_params", "n")}
    assert set(texts(verdict(metrics(old)))) == {"luck", "size", "params"}


def test_the_parameter_count_is_not_compared_with_itself():
    group, _ = ground()
    evidence = Assessor([group], resamples=200, permutations=200).assess([group.numbers["params"]])
    found = texts(verdict(evidence.to_json()))
    assert found["size"] == "is a size proxy: τ with log-params 1.000"
    assert "params" not in found
    assert "beyond" not in found


spans = st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(sorted)


@given(spans, spans, spans, spans, st.lists(spans, max_size=4), st.floats(0.001, 1), st.floats(-1, 1))
def test_no_claim_whose_interval_includes_0(tau, gain, partial, band, pairs, p, size):
    mean = figures(sum(tau) / 2, tau, sum(gain) / 2, gain, p, size, partial, band)
    found = verdict(metrics(mean, *(figures(gain=sum(span) / 2, gain_ci=span) for span in pairs)))
    for finding in found:
        claims = GOOD.search(finding.text) is not None
        good = {
            "luck": tau[0] > 0 and p <= 0.05,
            "params": gain[0] > 0,
            "references": gain[0] > 0,
            "beyond": partial[0] > 0,
        }.get(finding.about, False)
        assert finding.good is True or not good
        assert good or finding.good is not True
        if not good:
            assert not claims or "not clearly" in finding.text
        if finding.about == "params" and len(pairs) > 1:
            ahead, sure = map(int, re.search(r"ahead on (\d+) of .* excludes 0 on (\d+)", finding.text).groups())
            assert sure == sum(span[0] > 0 for span in pairs) <= ahead
        for text in re.findall(r"\[(.*?), (.*?)\]", finding.text):
            low, high = map(float, text)
            if good and finding.about == "params":
                assert 0 < low <= high, "no printed interval touches the 0 that it excludes"


def test_random_scores_are_called_luck():
    called = 0
    for seed in range(40):
        group, _ = ground(seed, 30)
        noise = np.random.default_rng(1000 + seed).normal(size=30)
        evidence = Assessor([group], resamples=200, permutations=200, seed=seed).assess([noise])
        found = verdict(evidence.to_json())
        called += found[0].text.startswith("ranks better than luck")
    assert called <= 5, "5 % of 40 are 2"


def test_a_noisy_copy_of_size_is_not_said_to_know_more():
    claims = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        params, noise, rest = rng.normal(size=(3, 60))
        numbers = {"params": list(np.exp(params)), "flops": [1.0] * 60, "depth": [1.0] * 60, "width": [1.0] * 60}
        labels = {"a": 70 + params + 0.75 * rest}
        group = Group("s", tuple(("s", f"{i}") for i in range(60)), labels, {"a": "kd"}, numbers)
        evidence = Assessor([group], resamples=300, permutations=50).assess([params + 0.33 * noise])
        claims += any(finding.about == "beyond" and finding.good is True for finding in verdict(evidence.to_json()))
    assert claims <= 4, "2.5 % of 40 is 1"


def test_what_knows_quality_at_equal_size_is_seen():
    rng = np.random.default_rng(0)
    quality, params = rng.normal(size=(2, 60))
    numbers = {"params": list(np.exp(params)), "flops": [1.0] * 60, "depth": [1.0] * 60, "width": [1.0] * 60}
    group = Group("s", tuple(("s", f"{i}") for i in range(60)), {"a": 70 + quality + params}, {"a": "kd"}, numbers)
    found = {f.about: f.good for f in verdict(Assessor([group], permutations=100).assess([quality]).to_json())}
    assert found["luck"] is found["beyond"] is True
    assert "size" not in found
