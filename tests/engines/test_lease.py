"""Leases in a folder and in a bucket: one holder, whoever stalls, dies or wakes."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from laneb.places import AnyPath
from laneb.storage.lease import Lease, LeaseHeldError, LeaseLostError


@pytest.fixture(params=["folder", "bucket", "seaweedfs_bucket"])
def shared_place(request: pytest.FixtureRequest, tmp_path: Path) -> AnyPath:
    """A place that several machines share: who was first is told in another way by each."""
    return tmp_path / "shared" if request.param == "folder" else request.getfixturevalue(request.param)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_of_eight_claimants_one_wins(shared_place):
    for lap in range(3):
        leases = [Lease(shared_place / f"lease{lap}", 60, holder=str(number)) for number in range(8)]
        together = threading.Barrier(8)

        def claim(lease: Lease, together: threading.Barrier = together) -> bool:
            together.wait()
            return lease.take()

        with ThreadPoolExecutor(8) as threads:
            won = list(threads.map(claim, leases))
        assert won.count(True) == 1
        winner = leases[won.index(True)]
        winner.check()
        assert {lease.holder() for lease in leases} == {str(won.index(True))}


def test_of_eight_that_saw_the_holder_stand_still_one_takes_over(shared_place):
    clock = Clock()
    dead = Lease(shared_place / "lease", 10)
    assert dead.take()
    leases = [Lease(shared_place / "lease", 10, holder=str(number), clock=clock) for number in range(8)]
    assert not any(lease.take() for lease in leases)
    clock.now = 10.1
    together = threading.Barrier(8)

    def claim(lease: Lease) -> bool:
        together.wait()
        return lease.take()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(claim, leases)).count(True) == 1


def test_a_holder_that_beats_is_never_taken_over_and_one_that_stops_is(shared_place):
    clock = Clock()
    holder, other = Lease(shared_place / "lease", 10), Lease(shared_place / "lease", 10, clock=clock)
    assert holder.take()
    for _ in range(4):
        assert not other.take()
        clock.now += 9.0
        holder.beat()
    assert not other.take()
    clock.now += 9.0
    assert not other.take()
    clock.now += 1.5
    assert other.take()


def test_an_old_holder_that_wakes_may_write_nothing_and_hides_nobody(shared_place):
    clock = Clock()
    old, new = (
        Lease(shared_place / "lease", 10, holder="old"),
        Lease(shared_place / "lease", 10, holder="new", clock=clock),
    )
    assert old.take()
    assert not new.take()
    clock.now = 11.0
    assert new.take()
    for act in (old.check, old.beat):
        with pytest.raises(LeaseLostError, match="was taken over by new: nothing more is written there"):
            act()
    old.release()
    new.check()
    assert not Lease(shared_place / "lease", 10).take()


def test_a_lease_that_was_given_back_is_free_at_once(shared_place):
    first, second = Lease(shared_place / "lease", 60), Lease(shared_place / "lease", 60)
    assert first.take()
    with first.beating():
        assert not second.take()
    assert second.take()
    with pytest.raises(LeaseLostError):
        first.check()


def test_waiting_ends_at_its_deadline_with_the_holder_s_name(tmp_path):
    holder, other = Lease(tmp_path / "run" / "lease", 60, holder="job 7 on n1"), Lease(tmp_path / "run" / "lease", 60)
    assert holder.take()
    with pytest.raises(LeaseHeldError, match=r"run is held by job 7 on n1, which is alive\. Wait until it ends"):
        other.wait(0.0)
    with pytest.raises(LeaseHeldError):
        other.wait(60.0, stop=lambda: True)
    holder.release()
    other.wait(0.0)


def test_a_claim_that_was_cut_off_while_it_was_written_does_not_hold_for_ever(tmp_path):
    clock = Clock()
    (tmp_path / "lease").mkdir()
    (tmp_path / "lease" / "00000003.json").write_bytes(b'{"beat": ')
    lease = Lease(tmp_path / "lease", 10, clock=clock)
    assert not lease.take()
    clock.now = 11.0
    assert lease.take()
    assert [path.name for path in (tmp_path / "lease").iterdir()] == ["00000004.json"]
