#!/usr/bin/env python3
"""python-resolvelib over .g graphs; prints the lines of graph.py.

Allowed versions are bit masks. Preference is pip's idea: what took part in the
last conflict first, then the narrowest. A query past its limit is given up.
"""
import time

import resolvelib

import graph


class Provider(resolvelib.AbstractProvider):
    """Requirements are (package, mask), candidates (package, rank)."""

    def __init__(self, g):
        self.g, self.masks, self.deps, self.end = g, {}, {}, 0

    def mask(self, line):
        if line not in self.masks:
            name, ranges = graph.spans(line)
            p, m = self.g.index.get(name, name), 0
            n = len(self.g.deps[p]) if name in self.g.index else 0
            for lo, hi in ranges:
                lo, hi = min(lo, n), min(hi, n)
                m |= (1 << hi) - (1 << lo) if lo < hi else 0
            self.masks[line] = (p, m)
        return self.masks[line]

    def identify(self, requirement_or_candidate):
        return requirement_or_candidate[0]

    def get_preference(self, identifier, resolutions, candidates, information, backtrack_causes):
        if time.perf_counter() > self.end:
            raise graph.GiveUp
        caused = any(c.requirement[0] == identifier or (c.parent and c.parent[0] == identifier) for c in backtrack_causes)
        return not caused, min((i.requirement[1].bit_count() for i in information[identifier]), default=0)

    def find_matches(self, identifier, requirements, incompatibilities):
        if time.perf_counter() > self.end:
            raise graph.GiveUp
        m = -1
        for r in requirements[identifier]:
            m &= r[1]
        for c in incompatibilities[identifier]:
            m &= ~(1 << c[1])

        def matches(m=m):
            while m:
                v = m.bit_length() - 1
                yield identifier, v
                m ^= 1 << v

        return matches

    def is_satisfied_by(self, requirement, candidate):
        return requirement[1] >> candidate[1] & 1 == 1

    def get_dependencies(self, candidate):
        if candidate not in self.deps:
            p, v = candidate
            self.deps[candidate] = [self.mask(line) for line in self.g.deps[p][v]]
        return self.deps[candidate]


def load(g):
    provider = Provider(g)

    def ask(p, v, limit):
        provider.end = time.perf_counter() + limit
        try:
            resolvelib.Resolver(provider, resolvelib.BaseReporter()).resolve([(p, 1 << v)], max_rounds=1 << 40)
        except resolvelib.ResolutionImpossible:
            return False
        return True

    return ask


if __name__ == "__main__":
    graph.run("resolvelib", load)
