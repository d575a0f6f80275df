#!/usr/bin/env python3
"""gen.py [--family F] [--packages N] [--versions K] [--seed S] [FILE]

Writes a dependency graph in the .g format (data/resolve/README.md) to FILE or
standard output; the same arguments give the same bytes. The root to ask for is
the highest version of package 0.

  registry  N packages of K versions that look like a registry: a few popular
            packages, carets, tildes, lower bounds and holes; old versions want
            old versions. The newest of everything does not fit together, but an
            assignment exists, and every assignment holds all N packages.
  long      three packages of K versions; the newest pair that fits lies half way
            down. N is not used.
  pigeons   N pigeons, N-1 holes: no solution, and every proof that only knows
            versions is exponential in N. K is not used.
  ring      N packages, each wants its own version of the next, the last one
            wants a higher one of the first: no solution, N*K steps to see it.
"""
import argparse
import random
import sys


def package(out, name, versions):
    """Writes a package; versions is a list of lists of (dep, ranges)."""
    out.write(f"P {name} {len(versions)}\n")
    for v, deps in enumerate(versions):
        out.write(f"V {v}\n")
        for dep, ranges in deps:
            out.write(f"D {dep} {ranges}\n")


def allowed(rnd, kind, at, k):
    """A constraint of the kind that holds for rank at, of k ranks in ten majors."""
    major = max(1, k // 10)
    lo = max(0, at - rnd.randrange(0, major))
    if kind == "caret":
        return f"{max(lo, at // major * major)}-{min(k, (at // major + 1) * major)}"
    if kind == "tilde":
        return f"{lo}-{min(k, at + 3)}"
    if kind == "hole" and at + 2 < k:
        return f"{lo}-{at + 1},{at + 2}-{k}"
    return f"{lo}-{k}"


def registry(out, n, k, rnd):
    hidden = [k - 1 - min(k - 1, int(rnd.expovariate(0.7))) for _ in range(n)]
    hidden[0] = k - 1
    always = [[] for _ in range(n)]  # a tree from package 0 to every other
    for p in range(1, n):
        always[int(rnd.random() * p)].append(p)
    for p in range(n):
        since = dict.fromkeys(always[p], 0)  # dependency: the first version that has it
        for _ in range(rnd.choice((0, 0, 1, 1, 2, 3, 5))):
            d = int(n * rnd.random() ** 3)
            if d != p:
                since.setdefault(d, rnd.randrange(k))
        kinds = {}
        for d in since:  # what many need is wanted loosely
            wide = d < n // 20
            kinds[d] = rnd.choices(("caret", "from", "hole", "tilde"), (5, 90, 5, 0) if wide else (60, 25, 5, 10))[0]
        lines, versions = {}, []
        for v in range(k):
            deps = []
            for d in since:
                if v == hidden[p]:
                    lines[d] = allowed(rnd, kinds[d], hidden[d], k)
                elif v % 4 == 0 or d not in lines or v == hidden[p] + 1:
                    at = min(k - 1, max(0, v + rnd.randrange(-2, 3)))
                    lines[d] = allowed(rnd, kinds[d], at, k)
                if v >= since[d]:
                    deps.append((d, lines[d]))
            versions.append(deps)
        package(out, p, versions)


def long(out, _n, k, _rnd):
    package(out, "0", [[("a", f"0-{k}"), ("b", f"0-{k}")]])
    package(out, "a", [[("c", f"{v}-{v + 1}")] for v in range(k)])
    package(out, "b", [[("c", f"{v // 2}-{v // 2 + 1}")] for v in range(k)])
    package(out, "c", [[] for _ in range(k)])


def pigeons(out, n, _k, _rnd):
    package(out, "0", [[(f"pigeon{p}", f"0-{n - 1}") for p in range(n)]])
    for p in range(n):
        package(out, f"pigeon{p}", [[(f"hole{h}", f"{p}-{p + 1}")] for h in range(n - 1)])
    for h in range(n - 1):
        package(out, f"hole{h}", [[] for _ in range(n)])


def ring(out, n, k, _rnd):
    package(out, "0", [[("r0", f"0-{k}")]])
    for p in range(n - 1):
        package(out, f"r{p}", [[(f"r{p + 1}", f"{v}-{v + 1}")] for v in range(k)])
    package(out, f"r{n - 1}", [[("r0", f"{v + 1}-{k}")] for v in range(k)])


def main():
    families = {f.__name__: f for f in (registry, long, pigeons, ring)}
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--family", choices=families, default="registry")
    ap.add_argument("--packages", type=int, default=200)
    ap.add_argument("--versions", type=int, default=20)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("file", nargs="?")
    a = ap.parse_args()
    if a.packages < 2 or a.versions < 1:
        ap.error("at least two packages of one version")
    out = open(a.file, "w", encoding="utf-8") if a.file else sys.stdout
    with out:
        families[a.family](out, a.packages, a.versions, random.Random(a.seed))


if __name__ == "__main__":
    main()
