"""Requests per second and processor time per request, in alternating runs."""

from __future__ import annotations

import os
import statistics
from contextlib import ExitStack
from pathlib import Path

from .cases import Case
from .load import Result, handshakes, wrk
from .servers import BACKEND, Recipe, Server, Settings, free_port


def median(results: list[Result]) -> Result:
    return Result(*(statistics.median(getattr(result, key) for result in results) 
                    for key in ("requests_per_second", "user", "system", "server_busy", "load_busy")))


def pinnings() -> dict[str, tuple[str, str]]:
    """For each number of cores: where the server runs, and where load generator and backend do."""
    cores = sorted(os.sched_getaffinity(0))
    one = str(cores[0])
    return {"1": (one, one), **({"2": (one, str(cores[1]))} if len(cores) > 1 else {})}


def measure(recipes: list[Recipe], cases: list[Case], directory: Path, *, connections: list[int], logs: list[bool], cores: list[str],
            rounds: int, seconds: int) -> None:
    print(f"Medians of {rounds} alternating runs of {seconds} s; one worker each. CPU is user + system time of the worker per request;")
    print("ratios are the gateway's figure over the other's: CPU below 1.00 and requests/s above 1.00 are good.")
    print("An asterisk: the load generator's core was full while the gateway's worker had time left, so that requests/s show the generator.")
    for core in cores:
        if core not in pinnings():
            print(f"\n{core} cores: not on this machine")
            continue
        place, other = pinnings()[core]
        print(f"\nServer on core {place}, load generator and backend on core {other}")
        print(_header(recipes))
        for log in logs:
            with ExitStack() as stack:
                def start(recipe: Recipe, backend: int, cpus: str, log: bool) -> Server:
                    settings = Settings(directory / f"{recipe.name}-{core}-{log}", free_port(), backend, log)
                    return stack.enter_context(Server(recipe, settings, cpus=cpus))

                backend = start(BACKEND, 0, other, log)
                servers = [start(recipe, backend.port, place, log) for recipe in recipes]
                for case in cases:
                    if case.handshake:
                        if not log:
                            print(_row(case.title, _handshakes(servers, case, rounds, other)), flush=True)
                        continue
                    for count in connections:
                        results: list[list[Result]] = [[] for _ in servers]
                        # Each connection must get some responses to its end, or there is nothing to count.
                        least = -(-count * case.size // (256 << 20))
                        span = max(seconds, least)
                        for server in servers:
                            if least <= 1:
                                wrk(server, case, count, 1, other)  # warm
                        for _ in range(rounds):
                            for index, server in enumerate(servers):
                                results[index].append(wrk(server, case, count, span, other))
                        print(_row(f"{case.title}, {count} conn.{', access log' if log else ''}", [median(list_) for list_ in results], place != other), flush=True)


def _handshakes(servers: list[Server], case: Case, rounds: int, cpus: str) -> list[Result]:
    """The load is one client's, so that only the CPU time per handshake tells anything."""
    results: list[list[Result]] = [[] for _ in servers]
    for server in servers:
        handshakes(server, case, 50, cpus)
    for _ in range(rounds):
        for index, server in enumerate(servers):
            results[index].append(handshakes(server, case, 1000, cpus))
    return [median(list_) for list_ in results]


def _header(recipes: list[Recipe]) -> str:
    columns = "".join(f" {recipe.name + ' req/s':>14} {'CPU us (user+sys)':>22}" for recipe in recipes)
    ratios = "".join(f" {'CPU/' + recipe.name:>12} {'req/s':>6}" for recipe in recipes[1:])
    return f"{'':<48}{columns}{ratios}"


def _row(title: str, results: list[Result], apart: bool = False) -> str:
    columns = "".join(f" {result.requests_per_second:>14,.0f} {f'{result.cpu:.2f} ({result.user:.2f}+{result.system:.2f})':>22}" for result in results)
    ours = results[0]
    mark = "*" if apart and ours.is_load_bound else " "
    ratios = "".join(f" {ours.cpu / result.cpu if result.cpu else float('nan'):>12.2f} {ours.requests_per_second / result.requests_per_second:>5.2f}{mark}"
                     for result in results[1:])
    return f"{title:<48}{columns}{ratios}"
