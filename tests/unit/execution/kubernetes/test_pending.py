"""What a refusal or a waiting pod means for whoever waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.config.general import Kubernetes
from processor.errors import ConfigError
from processor.execution.kubernetes.pending import advise, judge_refusal

QUOTA = 'pods "x" is forbidden: exceeded quota: q, requested: {}, used: limits.cpu=4, limited: {}'


@pytest.mark.parametrize(
    ("message", "is_permanent"),
    [
        (QUOTA.format("limits.cpu=2500m", "limits.cpu=2"), True),
        (QUOTA.format("limits.cpu=2", "limits.cpu=6"), False),
        (QUOTA.format("limits.cpu=2,limits.memory=3Gi", "limits.cpu=6,limits.memory=2G"), True),
        (QUOTA.format("limits.memory=1900Mi", "limits.memory=2Gi"), False),
        (QUOTA.format("limits.cpu=1e9", "limits.cpu=6"), False),
        (QUOTA.format("limits", "=,="), False),
        ('pods "x" is forbidden: maximum cpu usage per Container is 1, but limit is 2', True),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', True),
        ("Internal error occurred: failed calling webhook: context deadline exceeded", False),
    ],
)
def test_only_what_does_not_pass_by_itself_is_permanent(message: str, is_permanent: bool) -> None:
    assert judge_refusal(message) is (ConfigError if is_permanent else None)


@given(st.text(), st.text())
def test_a_quota_may_be_told_in_any_words(requested: str, limited: str) -> None:
    assert judge_refusal(QUOTA.format(requested, limited)) in {None, ConfigError}


@pytest.mark.parametrize(
    ("message", "option"),
    [
        ("ErrImageNeverPull: no such image", "--kubernetes.image"),
        ("Unschedulable: 0/1 nodes are available: 1 Insufficient memory.", "--kubernetes.cpu says"),
        ("failed quota: q: must specify limits.cpu for: mosaic; requests.cpu for: mosaic", "--kubernetes.cpu_limit"),
        ("exceeded quota: q, requested: requests.memory=9Gi, used: requests.memory=1Gi", "--kubernetes.cpu and"),
        ("something new", ""),
    ],
)
def test_a_message_comes_with_the_option_that_helps(message: str, option: str) -> None:
    told = advise(f"{message}\x1b", Kubernetes())
    assert told.startswith(message)
    assert "\x1b" not in told
    assert option in told
    assert bool(option) is ("--kubernetes" in told)
