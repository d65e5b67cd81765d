"""A route with text beyond ASCII is reached by its escaped form."""

from __future__ import annotations

from support.configuration import respond
from support.gateway import Gateway


def test_escaped(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/caf%C3%A9", "coffee")])
    assert gateway.get("/caf%C3%A9").text == "coffee"
    assert gateway.get("/caf%c3%a9").text == "coffee"
