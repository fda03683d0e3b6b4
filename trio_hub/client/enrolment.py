"""
How identities come to be on a connection: registered, attached, shown by another credential,
unregistered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from ..errors import AccessDeniedError, ConnectionLost, NotFoundError, ProtocolError
from ..records import AuthBlock, Envelope, Passport, Resume, Rule, without_claim
from ..wire import params as p
from ..wire.frames import ResponseFrame
from ..wire.validation import decode_strictly
from .identity import Identity, Since
from .keeper import Keeper
from .roster import Roster
from .state_board import StateBoard
from .states import ClientState

if TYPE_CHECKING:
    from .agent_client import AgentClient
    from .hub_client import HubClient
    from .human_client import HumanClient

__all__ = ["Enrolment"]


class Enrolment:
    """
    The coming and going of the identities of one client.

    Args:
        asking: That client, for its requests.
        board: Tells when the connection is live.
        keeper: Has the connection.
        roster: Gets the identities.
        hello_timeout: Seconds that the hub may take to answer a hello.
    """

    def __init__(
        self,
        asking: HubClient,
        board: StateBoard,
        keeper: Keeper,
        roster: Roster,
        *,
        hello_timeout: float,
    ) -> None:
        self._asking = asking
        self._board = board
        self._keeper = keeper
        self._roster = roster
        self._hello_timeout = hello_timeout

    async def register(
        self,
        handle: Callable[[Envelope, int], Awaitable[None]],
        passport: Passport,
        resume: Resume | None,
        skill_md: str | None,
        rule: Rule | None,
    ) -> Identity:
        """
        Register somebody whose envelopes `handle` gets; see `HubClient.register`.

        Cancellation: it may or may not be registered, and is not on the roster.
        """
        made: list[Identity] = []

        def registered(answer: ResponseFrame) -> None:
            # The hub has bound it by now, and what is for it may come in the next frame.
            stamped = decode_strictly(answer.result, Passport, "answer to register")
            identity = self._make(handle, stamped, passport.auth)
            identity.epoch = answer.epoch or None
            self._roster.add(identity)
            made.append(identity)
            if self._keeper.connection is not None:
                identity.bind(self._keeper.connection)

        losses_before = self._keeper.losses
        try:
            await self._asking.request(
                "register",
                p.Register(
                    passport=passport, resume=resume or Resume(), rule=rule, skill_md=skill_md
                ),
                Passport,
                on_result=registered,
            )
        except ProtocolError:
            # The answer to our first try may have been lost with its connection: then it is we
            # who have the name, and a hello with our credential shows it.
            if self._keeper.losses == losses_before:
                raise
            stamped = await self._registered_before(passport)
            if stamped is None:
                raise
            identity = self._make(handle, stamped, passport.auth)
            self._roster.add(identity)
            made.append(identity)
            await self._bind(identity)
        except BaseException:
            for identity in made:
                self._roster.remove(identity, ConnectionLost("its registration was cancelled"))
            raise
        return made[0]

    async def attach(
        self,
        client: AgentClient | HumanClient,
        name: str,
        agent_id: str,
        passport: Passport | None,
        since: Since,
    ) -> None:
        """
        Bind one that the hub knows, and whose client is `client`; see `HubClient.attach`.

        Cancellation: it may or may not be bound, and is not on the roster.
        """
        known, known_resume, known_rule = await self._look_up(name, agent_id)
        auth = passport.auth if passport is not None else AuthBlock(scheme=known.auth.scheme)
        identity = self._make(client.handle, known, auth)
        identity.since = since
        # Before the hello: what is replayed comes right behind the welcome.
        client.bind(identity, known_resume, known_rule)
        self._roster.add(identity)
        try:
            with _too_slow(
                self._hello_timeout, f"the hub did not answer the hello of {known.name!r}"
            ):
                await self._bind(identity)
        except BaseException:
            self._roster.remove(identity, ConnectionLost(f"{known.name!r} was not attached"))
            raise

    async def renew(self, agent_id: str, auth: AuthBlock) -> None:
        """See `HubClient.renew`."""
        identity = self._roster.get(agent_id)
        if identity is None:
            raise NotFoundError(f"{agent_id!r} is not attached here")
        with _too_slow(self._hello_timeout, f"the hub did not answer {identity.name!r}"):
            await self._roster.renew(identity, auth)

    async def unregister(self, agent_id: str) -> None:
        """See `HubClient.unregister`."""
        await self._asking.request("unregister", p.OfAgent(agent_id=agent_id), None)
        identity = self._roster.get(agent_id)
        if identity is not None:
            self._asking.names.forget(identity.name)
            self._roster.remove(identity, NotFoundError(f"{identity.name!r} was unregistered"))

    # Inside

    async def _look_up(self, name: str, agent_id: str) -> tuple[Passport, Resume, Rule]:
        """
        Look up what is known of an agent whose name was asked about before.

        A hub that wants credentials tells of an id only over a connection that has spelled the
        name, and that one may be lost by now: then it is named again.
        """
        asked, losses = agent_id, -1
        while True:
            try:
                known = await self._asking.get_agent(asked)
                known_resume = await self._asking.get_resume(known.stamped_id)
                known_rule = await self._asking.get_rule(known.stamped_id)
            except AccessDeniedError:
                if losses == self._keeper.losses:
                    raise
                asked, losses = name, self._keeper.losses
            else:
                return known, known_resume, known_rule

    async def _registered_before(self, passport: Passport) -> Passport | None:
        try:
            stamped = await self._asking.get_agent(passport.name)
        except NotFoundError:
            return None
        ours = attrs.evolve(
            without_claim(passport), agent_id=stamped.agent_id, created_at=stamped.created_at
        )
        return stamped if ours == stamped else None

    def _make(
        self,
        handle: Callable[[Envelope, int], Awaitable[None]],
        passport: Passport,
        auth: AuthBlock,
    ) -> Identity:
        self._asking.names.remember(passport)
        return self._roster.make(handle, passport, auth)

    async def _bind(self, identity: Identity) -> None:
        """Bind an identity to the live connection, however often that is lost meanwhile."""
        while identity.connection is None:
            identity.check_attached()
            await self._board.wait(ClientState.LIVE)
            connection = self._keeper.connection
            if connection is not None and connection.lost is None and identity.connection is None:
                try:
                    await self._roster.say_hello(identity, connection)
                except ConnectionLost:
                    # The one it was said on; `wait_state` knows whether there will be another.
                    continue
            else:
                # It is being lost right now, by a task that needs a moment for it.
                await trio.lowlevel.checkpoint()


@contextmanager
def _too_slow(seconds: float, what: str) -> Iterator[None]:
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise trio.TooSlowError(f"{what} within {seconds:g} s")
