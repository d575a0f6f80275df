package core_test

import (
	"testing"

	"pkg/resolve/internal/core"
	"pkg/resolve/internal/pubgrub"
)

// BenchmarkExplain explains why 300 versions that each pin another package do not
// go with an old one of it.
func BenchmarkExplain(b *testing.B) {
	g := parse(module("rails", 300, "activesupport %d-%d+1", "rack 0-9") + module("activesupport", 300) + module("rack", 9))
	q := pubgrub.Query{Roots: []pubgrub.Dep{g.dep("rails 200-300"), g.dep("activesupport 0-100")}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := core.Explain(b.Context(), g, q); err != nil {
			b.Fatal(err)
		}
	}
}
