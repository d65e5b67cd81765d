"""Small configurations, built from parts."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def configuration(port: int, **keys: Any) -> Json:
    """One worker on a loopback port, quick to stop; `keys` replace or add top-level keys."""
    return {"bind_host": "127.0.0.1", "bind_port": port, "workers": 1, "shutdown_drain_timeout_sec": 3, **keys}


def respond(path: str = "/", body: str = "ok", **more: Any) -> Json:
    """A route with a fixed answer; `hosts` and `methods` are the route's, the rest the answer's."""
    route: Json = {"path": path, **{key: more.pop(key) for key in ("hosts", "methods") if key in more}}
    return {**route, "respond": {"body": body, **more}}


def redirect(path: str, to: str, **more: Any) -> Json:
    return {"path": path, "redirect": {"to": to, **more}}


def forward(path: str, upstream: str = "backend", **more: Any) -> Json:
    return {"path": path, "upstream": upstream, **more}


def upstream(port: int, prefix: str | None = "/api", name: str = "backend", host: str = "127.0.0.1",
             pool: Json | None = None, **proxy: Any) -> Json:
    """An upstream; `request_mode` is its own key, all other named arguments are keys of `proxy`."""
    entry: Json = {"name": name, "host": host, "port": port}
    if "request_mode" in proxy:
        entry["request_mode"] = proxy.pop("request_mode")
    if prefix is not None:
        proxy["route_prefix"] = prefix
    if pool:
        entry["pool"] = pool
    if proxy:
        entry["proxy"] = proxy
    return entry
