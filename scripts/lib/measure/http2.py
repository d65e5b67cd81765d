"""Requests over HTTP/2, many streams on few connections, next to the servers that speak it."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from pathlib import Path

from .cases import Case
from .load import Result, h2load
from .servers import BACKEND, Recipe, Server, Settings, free_port
from .speed import median, pinnings

CONNECTIONS, STREAMS = 4, 100


def measure(recipes: list[Recipe], cases: list[Case], directory: Path, *, rounds: int, seconds: int) -> None:
    print(f"HTTP/2, {CONNECTIONS} connections of {STREAMS} streams; medians of {rounds} alternating runs of {seconds} s; one worker each, on one core")
    print("with load generator and backend. CPU us of the worker per request (user+system); ratio: the gateway's over the other's.")
    core = pinnings()["1"][0]
    with ExitStack() as stack:
        backend = stack.enter_context(Server(BACKEND, Settings(directory / "backend", free_port(), 0), cpus=core))
        servers = [stack.enter_context(Server(recipe, Settings(directory / recipe.name, free_port(), backend.port), cpus=core)) for recipe in recipes]
        for case in cases:
            print(f"\n{case.title}")
            running = [server for server in servers if not (server.recipe.only_proxies and case.path == "/local")]
            results: dict[str, list[Result]] = {server.recipe.name: [] for server in running}
            for server in running:
                h2load(server, case, CONNECTIONS, STREAMS, 1, core)  # warm
            for _ in range(rounds):
                for server in running:
                    results[server.recipe.name].append(h2load(server, case, CONNECTIONS, STREAMS, seconds, core))
            ours = median(results[running[0].recipe.name])
            for name, runs in results.items():
                result, spread = median(runs), statistics.pstdev([run.cpu for run in runs])
                ratio = "" if name == running[0].recipe.name else f"{ours.cpu / result.cpu:>8.2f}"
                print(f"  {name:<10} {result.requests_per_second:>10,.0f} req/s  {result.cpu:>6.2f} ({result.user:.2f}+{result.system:.2f}, sd {spread:.2f}) {ratio}", flush=True)
