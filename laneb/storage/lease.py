"""Leases: one holder at a time among machines that share a folder or a bucket, and no lock that outlives its holder.

A lease is a folder of numbered files. Who creates the next number, which one claimant can, holds the lease; the highest
number counts, so that an old holder which wakes finds that it lost. The holder rewrites its own file now and then, with
a count that goes up. A claimant that has seen a count stand still for the lease's time, on its own clock, takes over:
nobody's clocks are compared. Needs nothing of a file system but that creating a file which exists fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from laneb.storage import shared
from laneb.storage.atomic import StorageError

if TYPE_CHECKING:
    from laneb.places import AnyPath

BEATS_PER_LEASE = 4
LOOK_SECONDS = 1.0


class LeaseHeldError(ValueError):
    """Another holder is alive."""


class LeaseLostError(ValueError):
    """Another holder took over meanwhile, so nothing more may be written."""


@dataclass(frozen=True)
class Claim:
    """What a number's file says: who holds it, how often they beat, and whether they gave it back."""

    number: int
    token: str
    holder: str
    beat: int = 0
    released: bool = False

    def text(self) -> bytes:
        """The file."""
        return (json.dumps(asdict(self), sort_keys=True) + "\n").encode()


class Lease:
    """A lease on what lies beside `folder`, for one claimant.

    Args:
        folder: where the numbered files are, the same for all claimants.
        seconds: how long a count has to stand still for its holder to count as gone.
        holder: for people, who claims; None: this process.
        what: for people, what is held; None: the folder around `folder`.
        clock: seconds that only go up.
    """

    def __init__(
        self,
        folder: AnyPath,
        seconds: float,
        *,
        holder: str | None = None,
        what: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.seconds = folder, seconds
        self._holder = holder or f"process {os.getpid()} on {socket.gethostname()}"
        self._what = what or str(folder.parent)
        self._clock = clock
        self._claim: Claim | None = None
        self._writing = threading.Lock()
        self._seen: tuple[Claim | None, float] = None, 0.0

    def current(self) -> Claim | None:
        """The claim that counts now: the highest number's, or None where nobody ever claimed."""
        while numbers := _numbers(self.folder):
            data = shared.read_or_none(self._path(numbers[-1]))
            if data is not None:
                return _parse(numbers[-1], data)
            # Tidied up between the two looks, by one that has a higher number.
        return None

    def is_alive(self) -> bool:
        """Whether another may hold it: true until its count has stood still for the lease's time, seen from here."""
        claim = self.current()
        if claim is None or claim.released:
            return False
        now = self._clock()
        if claim != self._seen[0]:
            self._seen = claim, now
        return now - self._seen[1] < self.seconds

    def take(self) -> bool:
        """Take the lease if nobody holds it, or its holder is known to be gone; False where another is or got it."""
        if self.is_alive():
            return False
        before = self.current()
        if before is not None and not before.released and before != self._seen[0]:
            return False
        claim = Claim(before.number + 1 if before else 1, uuid.uuid4().hex, self._holder)
        if not shared.create(self._path(claim.number), claim.text()):
            return False
        # A number that was free because a later holder had tidied it up is no claim.
        if (current := self.current()) is None or current.token != claim.token:
            shared.remove(self._path(claim.number))
            return False
        self._claim = claim
        for number in _numbers(self.folder):
            if number < claim.number:
                shared.remove(self._path(number))
        return True

    def wait(
        self, deadline: float, *, stop: Callable[[], bool] = lambda: False, say: Callable[[str], None] | None = None
    ) -> None:
        """Take the lease, as soon as its holder gives it back or is gone.

        Args:
            deadline: seconds to wait at most.
            stop: whether to give up.
            say: gets a sentence, once, when there is a holder to be waited for.

        Raises:
            LeaseHeldError: the holder lived all the while, or `stop` said so.
        """
        until, pause = self._clock() + deadline, min(LOOK_SECONDS, self.seconds / BEATS_PER_LEASE)
        while not self.take():
            if stop() or self._clock() >= until:
                raise LeaseHeldError(
                    f"{self._what} is held by {self.holder()}, which is alive. Wait until it ends, or stop it"
                )
            if say is not None:
                say(f"{self._what} is held by {self.holder()}: waiting for it")
                say = None
            time.sleep(pause)

    def holder(self) -> str:
        """Who holds it, for people."""
        claim = self.current()
        return claim.holder if claim else "nobody"

    def beat(self) -> None:
        """Show that the holder lives.

        Raises:
            LeaseLostError: another took over.
        """
        with self._writing:
            claim = self.check()
            self._claim = Claim(claim.number, claim.token, claim.holder, claim.beat + 1)
            shared.replace(self._path(claim.number), self._claim.text())

    def check(self) -> Claim:
        """The own claim, which still counts: called before anything is published.

        Raises:
            LeaseLostError: another took over, or there never was a claim.
        """
        current = self.current()
        if self._claim is None or current is None or current.token != self._claim.token:
            raise LeaseLostError(
                f"{self._what} was taken over by {current.holder if current else 'nobody'}: nothing more is written "
                "there"
            )
        return self._claim

    def release(self) -> None:
        """Give it back, so that the next one needs no wait. Does nothing where it was lost."""
        with self._writing, contextlib.suppress(LeaseLostError, StorageError):
            claim = self.check()
            shared.replace(
                self._path(claim.number), Claim(claim.number, claim.token, claim.holder, claim.beat, True).text()
            )
        self._claim = None

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Beat in the background while the block runs, then give the lease back.

        A beat that can't be written is tried again at the next: `check` says whether somebody took over meanwhile.
        """
        over = threading.Event()

        def go_on() -> None:
            while not over.wait(self.seconds / BEATS_PER_LEASE):
                try:
                    self.beat()
                except LeaseLostError:
                    return
                except (StorageError, OSError):
                    continue

        thread = threading.Thread(target=go_on, name=f"lease {self.folder}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.release()

    def _path(self, number: int) -> AnyPath:
        return self.folder / f"{number:08d}.json"


def _numbers(folder: AnyPath) -> list[int]:
    stems = (name.removesuffix(".json") for name in shared.names(folder))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def _parse(number: int, data: bytes) -> Claim:
    """A claim; one that can't be read counts as a holder's that doesn't beat."""
    try:
        values = json.loads(data)
        return Claim(number, str(values["token"]), str(values["holder"]), int(values["beat"]), bool(values["released"]))
    except (ValueError, KeyError, TypeError):
        return Claim(number, "", "another process")
