"""Reads .g graphs (data/resolve/README.md) and runs one peer over their queries.

A query is one version of one package as the only root. Each peer prints a line
per graph, tab-separated:

  graph  peer  queries  asked  gave_up  refused  differ  total_ns  worst_ns

queries is how many there are, asked how many of them were asked (a sample), of
which gave_up hit the limit for one query (their time counts as it was spent) and
refused were declined by the peer (not in the time). differ counts answers that
are not those of the oracle. Where all is cheap a query's time is the median of 5.
"""
import argparse
import math
import os
import statistics
import time

LARGE = 10000  # versions; a larger graph is asked only for its first root


class GiveUp(Exception):
    """The limit for one query was reached."""


class Refused(Exception):
    """The peer cannot take this graph."""


class Graph:
    """names, and by package and rank the dependencies: lines "name lo-hi,lo-hi"."""

    def __init__(self, file):
        self.names, self.deps, seen = [], [], {}
        with open(file, encoding="utf-8") as f:
            for line in f:
                kind, rest = line[0], line[2:].rstrip("\n")
                if kind == "P":
                    self.names.append(rest.split(" ")[0])
                    self.deps.append([])
                elif kind == "V":
                    self.deps[-1].append([])
                elif kind == "D":
                    self.deps[-1][-1].append(seen.setdefault(rest, rest))
                else:
                    raise ValueError(f"{file}: bad line {line!r}")
        self.index = {n: p for p, n in enumerate(self.names)}

    def queries(self):
        """All (package, rank), or only the first root, in an order whose every prefix is a fair sample."""
        if sum(map(len, self.deps)) > LARGE:
            return [(0, len(self.deps[0]) - 1)]
        qs = [(p, v) for p, vs in enumerate(self.deps) for v in range(len(vs))]
        step = 7919
        while math.gcd(step, len(qs)) > 1:
            step += 1
        return [qs[i * step % len(qs)] for i in range(len(qs))]


def spans(line):
    """The package and the list of half-open ranges of a dependency line."""
    name, _, ranges = line.partition(" ")
    return name, [tuple(map(int, r.split("-"))) for r in ranges.split(",") if r.strip()]


def oracle(file):
    """Answers by (name, rank), empty if the graph has none."""
    try:
        with open(file, encoding="utf-8") as f:
            return {(n, int(v)): a == "1" for n, v, a in map(str.split, f)}
    except FileNotFoundError:
        return {}


def run(peer, load):
    """load(graph) returns ask(package, rank, limit_s) → satisfiable, or raises GiveUp or Refused."""
    ap = argparse.ArgumentParser()
    ap.add_argument("--sample", type=int, default=1 << 30, help="queries of a graph at most")
    ap.add_argument("--limit", type=float, default=60, help="seconds for a query")
    ap.add_argument("--budget", type=float, default=60, help="seconds for a graph")
    ap.add_argument("--write-oracle", action="store_true", help="write the answers of graphs that have none")
    ap.add_argument("files", nargs="+")
    a = ap.parse_args()
    for file in a.files:
        g = Graph(file)
        qs, known = g.queries(), oracle(file + ".libsolv")
        ask = load(g)
        took, answers, gave_up, refused, differ = {}, {}, 0, 0, 0
        end = time.perf_counter() + a.budget
        for p, v in qs[: a.sample]:
            start = time.perf_counter()
            if start > end:
                break
            try:
                got = ask(p, v, a.limit)
            except GiveUp:
                gave_up, got = gave_up + 1, None
            except Refused:
                refused += 1
                continue
            took[p, v] = time.perf_counter() - start
            if got is None:
                continue
            answers[g.names[p], v] = got
            differ += known.get((g.names[p], v), got) != got
        # Cheap graphs are asked again: a pause of the machine is not the worst query.
        if sum(took.values()) < 0.5 and not gave_up:
            for q in took:
                times = [took[q]]
                for _ in range(4):
                    start = time.perf_counter()
                    ask(*q, a.limit)
                    times.append(time.perf_counter() - start)
                took[q] = statistics.median(times)
        worst = max(took.values(), default=0)
        row = (os.path.basename(file), peer, len(qs), len(took) + refused, gave_up, refused, differ)
        print(*row, int(sum(took.values()) * 1e9), int(worst * 1e9), sep="\t", flush=True)
        if a.write_oracle and not known and len(answers) == len(qs):
            with open(file + ".libsolv", "w", encoding="utf-8") as out:
                out.writelines(f"{n} {v} {int(ok)}\n" for (n, v), ok in answers.items())
