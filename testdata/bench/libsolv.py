#!/usr/bin/env python3
"""libsolv over .g graphs; prints the lines of graph.py.

The pool is built once and not timed: a version is a solvable "name = rank", a
dependency is "name >= lo with name < hi", joined by "or". Timed is job, solver
and solve. One solver for all queries or a new one for each: whichever is faster
on the graph, by a trial that is not timed. Looking up the providers of every
dependency is not timed either.
"""
import time

import solv

import graph

GE = solv.REL_GT | solv.REL_EQ
INSTALL = solv.Job.SOLVER_INSTALL | solv.Job.SOLVER_SOLVABLE


def dependency(pool, line):
    name, ranges = graph.spans(line)
    n, out = pool.str2id(name), 0
    for lo, hi in ranges:
        r = pool.rel2id(n, pool.str2id(str(lo)), GE)
        r = pool.rel2id(r, pool.rel2id(n, pool.str2id(str(hi)), solv.REL_LT), solv.REL_WITH)
        out = pool.rel2id(out, r, solv.REL_OR) if out else r
    return out or pool.str2id("nothing provides this")


def load(g):
    pool, ids, first = solv.Pool(), {}, []
    repo = pool.add_repo("graph")
    for name, versions in zip(g.names, g.deps):
        first.append(0)
        for v, deps in enumerate(versions):
            s = repo.add_solvable()
            s.name, s.evr, s.arch = name, str(v), "all"
            s.add_provides(pool.rel2id(s.nameid, s.evrid, solv.REL_EQ))
            for line in deps:
                if line not in ids:
                    ids[line] = dependency(pool, line)
                s.add_requires(ids[line])
            first[-1] = first[-1] or s.id
    pool.createwhatprovides()

    def ask(new, p, v):
        return not new().solve([pool.Job(INSTALL, first[p] + v)])

    for i in ids.values():
        pool.whatprovides(i)
    one = pool.Solver()
    best, new = 0, pool.Solver
    trial = g.queries()[:60]
    if len(trial) == 1:
        return lambda p, v, limit: ask(new, p, v)
    for way in (pool.Solver, lambda: one):
        start, asked = time.perf_counter(), 0
        for q in trial:
            if time.perf_counter() - start < 0.5:
                ask(way, *q)
                asked += 1
        rate = asked / (time.perf_counter() - start)
        if rate > best:
            best, new = rate, way
    return lambda p, v, limit: ask(new, p, v)


if __name__ == "__main__":
    graph.run("libsolv", load)
