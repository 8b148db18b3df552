"""What steps talk to: one vCenter for a whole run, logged in first, logged in again whenever the session has
ended.

    with Client("prod", vcenter) as client:
        client.call("reading the time", lambda session: …)

Safe from any thread.
"""

from __future__ import annotations

import copy
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TypeVar

from runner.base.errors import Interrupted, SendenseError
from runner.base.units import MINUTE
from runner.base.waiting import NEVER, Deadline, again, unless_stopped
from runner.step.context import Answers, Context
from steps.vsphere import folder, reachability, service, vmomi
from steps.vsphere.errors import PermissionMissing, Unreachable
from steps.vsphere.faults import explained
from steps.vsphere.names import DatastoreFile
from steps.vsphere.refusal import Refusal, shared_by_all
from steps.vsphere.section import Thumbprint, VCenter
from steps.vsphere.session import Session
from steps.vsphere.tls import Trust, sha1_thumbprint, trust

KEEPALIVE = 5 * MINUTE
"""A session dies after 30 idle minutes, a setting that administrators lower."""

KEEPALIVE_LENT = 15.0
"""Seconds between looks while a child uses the cookie: it cannot tell us that the session ended, and its
reads fail until it has a new one."""

REPEATS = 2
"""How often a repeatable call is made again after a lost connection."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 3.0
"""Seconds before it is."""

LOGOUT_TIMEOUT = 5.0
"""Seconds for a vCenter to hear that we go; a session of which it does not ends when it has been idle."""

JOIN_TIMEOUT = 5.0
"""Seconds for the keepalive to end; it may hang in a call to a vCenter that is gone, and dies with the
process."""

LOOKS_AT_MANY = "looks at many"
"""Key of an answer, see `Client.looks_at_many`."""

ResultT = TypeVar("ResultT")


@dataclass
class _Now:
    """What changes while a client is used."""

    trust: Trust | None = None
    uuid: str = ""
    session: Session | None = None
    closed: bool = False


class Client:
    """`name` is the job's word for the vCenter."""

    def __init__(
        self,
        name: str,
        vcenter: VCenter,
        *,
        hold: Callable[[], None] = lambda: None,
        keepalive: float = KEEPALIVE,
        keepalive_lent: float = KEEPALIVE_LENT,
        refusal: Refusal | None = None,
    ) -> None:
        """`hold` raises if nothing may be changed: a run has its locks."""
        self.name = name
        self.vcenter = vcenter
        self.stop: threading.Event = NEVER
        """What ends its calls and waits, see `until`."""
        self.answers: Answers | None = None
        """What a look has learnt so far, see `remembering`."""
        self._hold = hold
        self._refusal = refusal or Refusal()
        self._keepalive = keepalive
        self._keepalive_lent = keepalive_lent
        # A login may hang, and who leaves the client or lends a cookie must not wait for it: so the lock of
        # what changes is another.
        self._logging_in = threading.Lock()
        self._lock = threading.RLock()
        self._wake = threading.Condition()
        self._borrowers: list[tuple[Callable[[str], None], Callable[[SendenseError], None]]] = []
        self._now = _Now()
        self._thread = threading.Thread(target=self._keep_alive, name=f"keepalive-{name}", daemon=True)

    def __enter__(self) -> Client:
        """Raises LoginRefused, NotTrusted, Unreachable (transient), UsageError for a secret that cannot be
        read."""
        self._login_instead_of(None)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._wake:
            self._now.closed = True
            self._wake.notify()
        self._thread.join(timeout=JOIN_TIMEOUT)
        with self._lock:
            session, self._now.session = self._now.session, None
        if session is not None:
            with suppress(Interrupted):
                unless_stopped(session.close, Deadline(LOGOUT_TIMEOUT))

    def until(self, stop: threading.Event) -> Client:
        """The same client, for work that ends when `stop` is set: what waits then, for an answer or for a
        task's end, raises Interrupted. vCenter continues what it was asked to do."""
        bound = copy.copy(self)
        bound.stop = stop
        return bound

    def remembering(self, answers: Answers) -> Client:
        """The same client, for a look that ends with `answers` and in which nothing is changed: what `ask`
        was told it does not ask again."""
        bound = copy.copy(self)
        bound.answers = answers
        return bound

    @property
    def uuid(self) -> str:
        """Which vCenter, or which ESXi host, this is. Raises VSphereError, PermissionMissing."""
        if not self._now.uuid:  # who asks at the same time gets the same answer
            doing = f"reading the identity of {self.server}"
            self._now.uuid = self.call(doing, lambda session: service.identify(session, doing))
        return self._now.uuid

    @property
    def version(self) -> str:
        """``VMware vCenter Server 8.0.3 build-24022515 (API 8.0.3.0)``"""
        about = self._current().service("about")
        return f"{about.fullName} (API {about.apiVersion})"

    @property
    def certificate_ends(self) -> datetime | None:
        """Until when its certificate is valid; None where that is not told."""
        return self._current().certificate_ends

    def trust(self) -> Trust:
        """The certificates that the last login verified."""
        if self._now.trust is None:
            raise RuntimeError("the client is used outside its context")
        return self._now.trust

    def trust_now(self) -> Trust:
        """As `trust`, for a connection of the caller's own: of several pinned certificates the vCenter may
        show another by now. Raises NotTrusted, OSError."""
        return trust(self.vcenter) if self._pins_several() else self.trust()

    def sha1_thumbprint(self) -> str:
        """``AB:CD:…`` of its certificate, verified now. Raises NotTrusted, Unreachable (transient)."""
        with explained(self.server, f"reading the certificate of {self.server}"):
            return sha1_thumbprint(self.vcenter, self.trust())

    def cookie(self) -> str:
        """Of the session as it is now; `lend_cookie` follows it."""
        return self._current().cookie

    def call(self, doing: str, work: Callable[[Session], ResultT], *, repeatable: bool = True) -> ResultT:
        """`work(session)`; once more after a new login if the session had ended. With `repeatable`, also
        after a lost connection: not for what would then happen twice.

        Raises SendenseErrors of `errors` only; their sentence begins with `doing`. Raises Interrupted when
        `stop` comes first: it may have been done then, and its answer is lost."""
        return again(
            lambda number: unless_stopped(lambda: self._call_once(doing, work), self.stop),
            on=lambda error: isinstance(error, Unreachable),
            stop=self.stop,
            attempts=1 + REPEATS if repeatable else 1,
            first=FIRST_PAUSE,
            longest=LONGEST_PAUSE,
            growth=3,
        )

    def ask(self, key: object, doing: str, work: Callable[[Session], ResultT]) -> ResultT:
        """As `call`, of what is read-only; `key` says all that the answer depends on."""
        return self.recall(key, lambda: self.call(doing, work))

    def recall(self, key: object, make: Callable[[], ResultT]) -> ResultT:
        """What `make` tells, of what is read-only; a look is told once, or was told before it began. `key`
        says all that it depends on."""
        if self.answers is None:
            return make()
        known: ResultT | None = self.answers.get((self.name, key))
        if known is None:
            known = self.answers[self.name, key] = make()
        return known

    @property
    def looks_at_many(self) -> bool:
        """A look at one of thousands of VMs, all of whose answers were read together: what would be a
        question for this VM alone stays open."""
        return self.answers is not None and (self.name, LOOKS_AT_MANY) in self.answers

    def act(self, doing: str, work: Callable[[Session], ResultT], *, repeatable: bool = True) -> ResultT:
        """As `call`, of what changes something. Raises also LockedError."""

        def held(session: Session) -> ResultT:
            self._hold()
            # A thread that a stop left in a slow login comes here once the run may have ended: nobody waits
            # for what it does any more, and the VM may be another run's.
            if self.stop.is_set():
                raise Interrupted
            return work(session)

        return self.call(doing, held, repeatable=repeatable)

    def _call_once(self, doing: str, work: Callable[[Session], ResultT]) -> ResultT:
        with shared_by_all(self.name), explained(self.server, doing):
            session = self._current()
            try:
                return work(session)
            except vmomi.vim.fault.NotAuthenticated:
                return work(self._login_instead_of(session))
            except ssl.SSLCertVerificationError:
                if not self._pins_several():
                    raise
                return work(self._login_instead_of(session))

    def _pins_several(self) -> bool:
        """Of which the other may be the vCenter's by now."""
        return isinstance(self.vcenter.tls, Thumbprint) and len(self.vcenter.tls.accepted) > 1

    def renew(self) -> bool:
        """Sees that the session lives; True if it had ended and there is a new one now."""
        before = self._current()
        self.call("looking whether the session lives", lambda session: session.current_time())
        return self._current() is not before

    def now(self) -> datetime:
        """By the vCenter's clock, which is the one that its snapshots' times are told by."""
        return self.call("reading the vCenter's clock", lambda session: session.current_time())

    def download(self, datacenter: str, file: DatastoreFile) -> bytes:
        """A small file of a datastore whole: `datacenter` is an inventory path.

        Raises Gone if there is no such file, PermissionMissing, Unreachable (transient)."""

        def work(session: Session) -> bytes:
            return folder.fetch(self.vcenter, self.trust(), session.cookie, datacenter, file)

        return self._once_more(lambda: self.call(f"reading {file}", work))

    def upload(self, datacenter: str, file: DatastoreFile, content: bytes) -> None:
        """Writes a small file of a datastore whole. Raises as `download`, and LockedError."""

        def work(session: Session) -> None:
            folder.store(self.vcenter, self.trust(), session.cookie, datacenter, file, content)

        self._once_more(lambda: self.act(f"writing {file}", work))

    def _once_more(self, transfer: Callable[[], ResultT]) -> ResultT:
        """A session that has ended is answered as one without rights."""
        try:
            return transfer()
        except PermissionMissing:
            if not self.renew():
                raise
        return transfer()

    def may_read(self, datacenter: str, file: DatastoreFile) -> bool:
        """Whether a session of the account opens a datastore's file now; logs in again if the session has
        ended. Raises LoginRefused, Gone if there is no such file, Unreachable (transient)."""
        self.renew()

        def work(session: Session) -> None:
            folder.look(self.vcenter, self.trust(), session.cookie, datacenter, file)

        try:
            self.call(f"looking at {file}", work)
        except PermissionMissing:
            return False
        return True

    @contextmanager
    def lend_cookie(
        self, take: Callable[[str], None], failed: Callable[[SendenseError], None]
    ) -> Iterator[None]:
        """Calls `take(cookie)` now and after each new login until the block is left; what it raises then is
        not the matter of the call that logged in, so it goes to `failed`."""
        borrower = (take, failed)
        with self._lock:
            take(self.cookie())
            self._borrowers.append(borrower)
        with self._wake:
            self._wake.notify()
        try:
            yield
        finally:
            with self._lock:
                self._borrowers.remove(borrower)

    @property
    def server(self) -> str:
        """In words."""
        return f"vCenter {self.vcenter.authority}"

    def _current(self) -> Session:
        session = self._now.session  # once: the client may be left meanwhile
        if self._now.closed:
            raise Interrupted  # a thread that a stop left behind
        if session is None:
            raise RuntimeError("the client is used outside its context")
        return session

    def _login_instead_of(self, ended: Session | None) -> Session:
        """One thread logs in, the others find it done. Raises Interrupted once the client was left: a login
        that ends only then is ended at once."""
        with self._logging_in:
            current = self._now.session
            if current is not None and current is not ended:
                return current
            if self._now.closed:
                raise Interrupted
            doing = f"logging in at {self.server} as {self.vcenter.username}"
            with shared_by_all(self.name), self._refusal.noticed(), explained(self.server, doing):
                self._refusal.heed()
                # Of several pins the vCenter is known by its certificate alone, which may be another by now.
                if self._now.trust is None or self._pins_several():
                    self._now.trust = trust(self.vcenter)
                session = Session(self.vcenter, self._now.trust, self.stop)
            if not self._adopt(session):
                session.close()
                raise Interrupted
            return session

    def _adopt(self, session: Session) -> bool:
        """Makes it the session of all calls, and tells those who borrowed the last one's cookie; False if the
        client was left meanwhile."""
        with self._lock:
            if self._now.closed:
                return False
            self._now.session = session
            for take, failed in self._borrowers:
                try:
                    take(session.cookie)
                except SendenseError as error:
                    failed(error)
            return True

    def _keep_alive(self) -> None:
        while True:
            with self._wake:
                is_lent = not self._now.closed and self._wake.wait(
                    self._keepalive_lent if self._borrowers else self._keepalive
                )
                if self._now.closed:
                    return
            if is_lent:
                continue  # just now, and who lends it looks first: from here on it is looked at more often
            try:
                self.renew()
            except Unreachable:
                continue  # may pass; a caller that needs the vCenter meanwhile is told by its own call
            except SendenseError:
                # Trying a refused password again and again locks the account; the next call says why.
                return


def vcenter(ctx: Context, name: str) -> Client:
    """The run's one client of the job's vCenter `name`, for work that ends with `ctx.stop`. Raises
    NotReached, Interrupted, and what entering a Client raises."""

    @contextmanager
    def logged_in() -> Iterator[Client]:
        section: VCenter = ctx.section("vcenters", name)
        with shared_by_all(name):
            reachability.require(ctx, name, section)
        # One client for each attempt, and one memory of a refused password for all of them.
        refusal = ctx.once(("refused by vCenter", name), Refusal)
        with Client(name, section, hold=ctx.hold, refusal=refusal) as client:
            yield client

    client: Client = unless_stopped(lambda: ctx.shared(("vcenter", name), logged_in), ctx.stop)
    client = client.until(ctx.stop)
    return client if ctx.answers is None else client.remembering(ctx.answers)
