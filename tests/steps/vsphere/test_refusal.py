"""A refused login is not tried again soon: a vCenter locks an account after five."""

import pytest

from steps.vsphere.errors import LoginRefused, NotReached, VSphereError
from steps.vsphere.refusal import REFUSED_FOR, Refusal, shared_by_all


def test_what_was_refused_is_told_again_without_another_try(monkeypatch: pytest.MonkeyPatch):
    now = 1000.0
    monkeypatch.setattr("steps.vsphere.refusal.time.monotonic", lambda: now)
    refusal = Refusal()
    refusal.heed()
    with pytest.raises(LoginRefused), refusal.noticed():
        raise LoginRefused("wrong password")
    with pytest.raises(LoginRefused, match="wrong password"):
        refusal.heed()
    now += REFUSED_FOR
    refusal.heed()


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (LoginRefused("no"), "login vcenter prod"),
        (NotReached("no"), "vcenter prod"),
        (VSphereError("no"), ""),
    ],
)
def test_an_error_that_all_runs_would_meet_says_what_they_share(error: VSphereError, cause: str):
    with pytest.raises(VSphereError) as raised, shared_by_all("prod"):
        raise error
    assert raised.value.shared == cause
