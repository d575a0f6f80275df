package semver

import (
	"strings"

	masterminds "github.com/Masterminds/semver/v3"
)

// plain reports whether a text is a constraint in the form that Masterminds
// prints, as nearly all are: "^1.2.3", ">=1.2 <2", "~1.0.4 || 2.0.0-rc.1". Such
// a text needs none of its regular expressions, which cost several times the
// rest. False means only that Masterminds decides.
func plain(s string) bool {
	if len(s) > masterminds.MaxVersionLen-len(".0.0") || strings.Count(s, "||") >= masterminds.MaxConstraintGroups {
		return false
	}
	open := true // a comparator must follow
	for w := range strings.SplitSeq(s, " ") {
		switch {
		case w == "||" && !open:
			open = true
		case plainComparator(w):
			open = false
		default:
			return false
		}
	}
	return !open
}

func plainComparator(w string) bool {
	rest := strings.TrimLeft(w, "=!<>~^")
	switch w[:len(w)-len(rest)] {
	case "", "=", "!=", ">", "<", ">=", "<=", "~", "^":
	default:
		return false
	}
	if rest == "*" {
		return true
	}
	nums, pre, isPre := strings.Cut(rest, "-")
	n := 0
	for num := range strings.SplitSeq(nums, ".") {
		// Nineteen digits fit 64 bits.
		if n++; n > 3 || !isNumber(num) || len(num) > 19 || leadingZero(num) {
			return false
		}
	}
	if !isPre {
		return true
	}
	for ident := range strings.SplitSeq(pre, ".") {
		if !isIdent(ident) || isNumber(ident) && leadingZero(ident) {
			return false
		}
	}
	return n == 3
}

func leadingZero(num string) bool { return len(num) > 1 && num[0] == '0' }

// isIdent reports whether s is letters, digits and hyphens.
func isIdent(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return s != ""
}
