"""Requests that zones of rate limits are asked about, next to nginx' limit_req."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from pathlib import Path

from .cases import named
from .load import Result, wrk
from .servers import BACKEND, Recipe, Server, Settings, free_port
from .speed import median, pinnings


def measure(recipes: list[Recipe], directory: Path, *, connections: int, rounds: int, seconds: int) -> None:
    print(f"Rate limits by client address that never refuse; {connections} connections, medians of {rounds} alternating runs of {seconds} s; one worker each,")
    print("on one core with the load generator. CPU us of the worker per request (user+system); ratio: the gateway's requests/s over the other's.")
    core = pinnings()["1"][0]
    case = named(["local"])[0]
    with ExitStack() as stack:
        backend = stack.enter_context(Server(BACKEND, Settings(directory / "backend", free_port(), 0), cpus=core))
        for zones in (0, 1, 8):
            title = "1 zone" if zones == 1 else f"{zones} zones"
            print(f"\n{title}")
            servers = [stack.enter_context(Server(recipe, Settings(directory / f"{recipe.name}-{zones}", free_port(), backend.port, zones=zones), cpus=core))
                       for recipe in recipes]
            results: dict[str, list[Result]] = {server.recipe.name: [] for server in servers}
            for server in servers:
                wrk(server, case, connections, 1, core)  # warm
            for _ in range(rounds):
                for server in servers:
                    results[server.recipe.name].append(wrk(server, case, connections, seconds, core))
            ours = median(results[servers[0].recipe.name])
            for name, runs in results.items():
                result, spread = median(runs), statistics.pstdev([run.cpu for run in runs])
                ratio = "" if name == servers[0].recipe.name else f"{ours.requests_per_second / result.requests_per_second:>8.2f}"
                print(f"  {name:<10} {result.requests_per_second:>10,.0f} req/s  {result.cpu:>6.2f} ({result.user:.2f}+{result.system:.2f}, sd {spread:.2f}) {ratio}", flush=True)
