package semver

// Domain is the versions of one package, prepared once for the masks of many
// constraints. The zero value holds none.
type Domain struct {
	sorted   []Version
	releases Set // those that are not pre-releases
}

// NewDomain returns the domain of versions that are ascending by Compare. It
// keeps the slice, which must not change any more. It looks at each version
// once: some ten microseconds for 5,000.
func NewDomain(sorted []Version) Domain {
	d := Domain{sorted, NewSet(len(sorted))}
	for i := range sorted {
		if sorted[i].pre == "" {
			d.releases.Add(i)
		}
	}
	return d
}

// Len returns the number of versions.
func (d Domain) Len() int { return len(d.sorted) }

// Releases returns the positions of the versions that are not pre-releases. The
// caller owns the set.
func (d Domain) Releases() Set { return d.releases.Clone() }

// mask adds the positions of the versions that match the group. Of the
// pre-releases it looks only at those that the group names: the siblings of one
// lie together.
func (g group) mask(d Domain, into Set) {
	for _, in := range g.in {
		from, to := in.indexes(d.sorted)
		into.addFrom(d.releases, from, to)
	}
	for _, v := range g.pre {
		first, end := siblings(v).indexes(d.sorted)
		if first == end {
			continue
		}
		for _, in := range g.in {
			from, to := in.indexes(d.sorted[first:end])
			into.addRange(first+from, first+to)
		}
	}
}
