package tlog_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"pkg/keys/tlog"
)

func TestParsePolicyFollowsC2SP(t *testing.T) {
	t.Parallel()
	l := newLog(t, "log.example/a", 1)
	w := make([]string, 4)
	for i := range w {
		w[i] = witness(t, i, 0).VerifierKey()
	}
	renamed := strings.Replace(w[0], "w0.", "w9.", 1)
	for _, tt := range []struct {
		name, text string
		ok         bool
	}{
		{"none", "quorum none\n", true},
		{"comments, tabs, blanks", " # c\n\t\n\tquorum  none \n", true},
		{"octets above 0x80", "# \xff\nquorum none\n", true},
		{"log with url", "log " + l.vkey + " https://x/\nquorum none\n", true},
		{"one witness", "witness A " + w[0] + " https://x/\nquorum A\n", true},
		{"two levels", "witness A " + w[0] + "\nwitness B " + w[1] + "\ngroup G any A\ngroup H all G B\nquorum H\n", true},
		{"threshold", "witness A " + w[0] + "\nwitness B " + w[1] + "\ngroup G 2 A B\nquorum G\n", true},
		{"empty", "", false},
		{"no quorum", "witness A " + w[0] + "\n", false},
		{"two quorums", "quorum none\nquorum none\n", false},
		{"quorum undefined", "quorum A\n", false},
		{"quorum before its witness", "quorum A\nwitness A " + w[0] + "\n", false},
		{"no last newline", "quorum none", false},
		{"carriage return", "quorum none\r\n", false},
		{"delete character", "quorum none # \x7f\n", false},
		{"comment after items", "quorum none # x\n", false},
		{"unknown keyword", "wibble\nquorum none\n", false},
		{"keyword in capitals", "Quorum none\n", false},
		{"witness named none", "witness none " + w[0] + "\nquorum none\n", false},
		{"name twice", "witness A " + w[0] + "\nwitness A " + w[1] + "\nquorum A\n", false},
		{"group named as a witness", "witness A " + w[0] + "\ngroup A any A\nquorum A\n", false},
		{"key twice", "witness A " + w[0] + "\nwitness B " + w[0] + "\nquorum A\n", false},
		{"id of another name", "witness A " + renamed + "\nquorum A\n", false},
		{"log twice", "log " + l.vkey + "\nlog " + l.vkey + "\nquorum none\n", false},
		{"log key as witness", "witness A " + l.vkey + "\nquorum A\n", false},
		{"witness key as log", "log " + w[0] + "\nquorum none\n", false},
		{"member twice", "witness A " + w[0] + "\ngroup G any A A\nquorum G\n", false},
		{"member of two groups", "witness A " + w[0] + "\nwitness B " + w[1] + "\ngroup G any A\ngroup H any A B\nquorum H\n", false},
		{"member undefined", "group G any A\nquorum G\n", false},
		{"member none", "group G any none\nquorum G\n", false},
		{"group of itself", "group G any G\nquorum G\n", false},
		{"no members", "group G any\nquorum G\n", false},
		{"threshold 0", "witness A " + w[0] + "\ngroup G 0 A\nquorum G\n", false},
		{"threshold above n", "witness A " + w[0] + "\ngroup G 2 A\nquorum G\n", false},
		{"threshold with a zero", "witness A " + w[0] + "\ngroup G 01 A\nquorum G\n", false},
		{"too long", strings.Repeat("#\n", 40000) + "quorum none\n", false},
		{"low-order key", "witness A " + lowOrder() + "\nquorum A\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := tlog.ParsePolicy(tt.text); (err == nil) != tt.ok {
				t.Errorf("ParsePolicy(%q): error %v, want ok %v", tt.text, err, tt.ok)
			}
		})
	}
}

// lowOrder is a well-formed vkey of the neutral point, under which anything verifies.
func lowOrder() string {
	return "w.example+86a06498+BAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
}

func TestPolicyHoldsThirtyTwoOfEach(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 32 {
		l := newLog(t, strings.Repeat("l", i+1), 0)
		fmt.Fprintf(&b, "log %s\nwitness W%d %s\ngroup G%d any W%d\n", l.vkey, i, witness(t, i, 0).VerifierKey(), i, i)
	}
	b.WriteString("group all all")
	for i := range 32 {
		fmt.Fprintf(&b, " G%d", i)
	}
	b.WriteString("\nquorum all\n")
	p, err := tlog.ParsePolicy(b.String())
	if err != nil || len(p.Logs) != 32 || len(p.Witnesses) != 32 {
		t.Errorf("ParsePolicy: %d logs, %d witnesses, %v", len(p.Logs), len(p.Witnesses), err)
	}
}

func TestQuorumTimeIsTheLatestAtWhichAQuorumStood(t *testing.T) {
	t.Parallel()
	l := newLog(t, "log.example/a", 1)
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(rt, "n")
		k := rapid.IntRange(1, n).Draw(rt, "k")
		policy := policyOf(t, k, n)
		var signers []note.Signer
		var times []int64
		for i := range n {
			if rapid.Bool().Draw(rt, "signs") {
				at := rapid.Int64Range(0, 20).Draw(rt, "t")
				signers, times = append(signers, witness(t, i, at)), append(times, at)
			}
		}
		cp, err := tlog.OpenCheckpoint(l.sign(t, 1, signers...), l.origin, []note.Verifier{l.verifier}, policy)
		if (err == nil) != (len(signers) >= k) {
			rt.Fatalf("%d of %d, need %d: %v", len(signers), n, k, err)
		}
		if err != nil {
			return
		}
		want := int64(-1)
		for _, at := range times { // plainly: the latest T since which k have signed
			since := 0
			for _, other := range times {
				if other >= at {
					since++
				}
			}
			if since >= k {
				want = max(want, at)
			}
		}
		if got, ok := policy.QuorumTime(cp.Cosigned); !ok || got != want {
			rt.Fatalf("QuorumTime of %v with %d needed = %d, %v; want %d", times, k, got, ok, want)
		}
	})
}

func TestQuorumOfGroups(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 5 {
		fmt.Fprintf(&text, "witness W%d %s\n", i, witness(t, i, 0).VerifierKey())
	}
	text.WriteString("group X 2 W0 W1 W2\ngroup Y any W3 W4\ngroup XY all X Y\nquorum XY\n")
	policy, err := tlog.ParsePolicy(text.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		times map[int]int64
		want  int64
		ok    bool
	}{
		{map[int]int64{0: 10, 1: 20, 3: 30}, 10, true},
		{map[int]int64{0: 10, 1: 20, 2: 15, 3: 30}, 15, true},
		{map[int]int64{0: 10, 1: 20, 2: 15, 3: 5, 4: 7}, 7, true},
		{map[int]int64{0: 10, 3: 30, 4: 30}, 0, false},
		{map[int]int64{0: 10, 1: 10, 2: 10}, 0, false},
		{nil, 0, false},
	} {
		var cosigned []tlog.Cosignature
		for i, at := range tt.times {
			cosigned = append(cosigned, tlog.Cosignature{Name: fmt.Sprintf("W%d", i), T: at})
		}
		if got, ok := policy.QuorumTime(cosigned); got != tt.want || ok != tt.ok {
			t.Errorf("QuorumTime(%v) = %d, %v; want %d, %v", tt.times, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	w := witness(f, 0, 0).VerifierKey()
	f.Add("witness A " + w + "\ngroup G any A\nquorum G\n")
	f.Add("quorum none\n")
	f.Add("log " + newLog(f, "log.example/a", 0).vkey + " url\nquorum none\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := tlog.ParsePolicy(text)
		if err != nil {
			return
		}
		if _, ok := p.QuorumTime(nil); ok == p.Witnessed() {
			t.Errorf("ParsePolicy(%q): satisfied by nobody is %v", text, ok)
		}
	})
}
