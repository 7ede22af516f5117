"""A layer before the web server: what a page of another site may not ask of it, and the lanes' reports.

Whoever reaches the port may launch runs, and a browser reaches it for every page that is open in it. So a request has
to come from a page of this server (its Origin), to a name of this machine (its Host: the name of another can be pointed
at 127.0.0.1), and nothing changes by GET, which a mere link or picture sends.
"""

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

from laneb_assets.names import REPORTS

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class Guard:
    """An ASGI application before another.

    Args:
        application: what answers the requests that pass.
        hosts: names under which people reach it beside this machine's own: those of a proxy with a login.
        report_of: the file of an experiment's report, by the experiment's name; None where there is none.
    """

    def __init__(
        self, application: Application, hosts: Collection[str], report_of: Callable[[str], Path | None]
    ) -> None:
        self._application = application
        self._hosts = LOOPBACK | {host.lower() for host in hosts}
        self._report_of = report_of

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, refuse it, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._application(scope, receive, send)
        elif why := self._refusal(scope):
            await _refuse(scope, receive, send, why)
        elif scope["type"] == "http" and scope["path"].startswith(REPORTS):
            await self._report(scope["path"].removeprefix(REPORTS), send)
        else:
            await self._application(scope, receive, send)

    def _refusal(self, scope: Message) -> str:
        """Why a request is refused; empty if it isn't."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if _name(f"//{host}") not in self._hosts:
            return f"Host {host!r} is no name of this server. To allow one: laneb ui --allow-host NAME"
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, host):
            return f"Origin {origin!r} is another site. To allow one: laneb ui --allow-host NAME"
        if scope["type"] == "http" and scope["method"] != "POST" and scope["path"].rstrip("/").endswith("/graphql"):
            query = parse_qs(scope["query_string"].decode("latin-1"))
            if any(_changes(text) for text in query.get("query", [])):
                return "A mutation by GET is refused: send it by POST."
        return ""

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether a page is one of this server's, or of a proxy that was allowed."""
        return urlsplit(origin).netloc.lower() == host.lower() or _name(origin) in self._hosts - LOOPBACK

    async def _report(self, experiment: str, send: Send) -> None:
        file = self._report_of(experiment)
        if file is None or not file.is_file():
            await _answer(send, 404, b"No such report yet: materialize lane_b_summary, or run laneb run.", "text/plain")
        else:
            await _answer(send, 200, file.read_bytes(), "text/html")


def _name(url: str) -> str:
    """The host name of a URL, without its port; empty if there is none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _changes(query: str) -> bool:
    """Whether a GraphQL document asks for anything but reading; one that can't be parsed is left to the server."""
    try:
        definitions = parse(query).definitions
    except GraphQLError:
        return False
    return any(
        isinstance(definition, OperationDefinitionNode) and definition.operation is not OperationType.QUERY
        for definition in definitions
    )


async def _refuse(scope: Message, receive: Receive, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        # Closed before it was accepted: the client sees 403.
        await send({"type": "websocket.close", "code": 1008, "reason": why[:120]})
    else:
        await _answer(send, 403, why.encode(), "text/plain")


async def _answer(send: Send, status: int, body: bytes, kind: str) -> None:
    headers = [
        (b"content-type", f"{kind}; charset=utf-8".encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        # A report's scripts draw; they are no part of Dagster's page, and may not ask what it may.
        (b"content-security-policy", b"sandbox allow-scripts allow-popups"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
