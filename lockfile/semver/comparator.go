package semver

import (
	"fmt"
	"strconv"
	"strings"
)

// width says how much of a version a comparator names.
type width uint8

const (
	wild  width = iota // *
	major              // 1, 1.x
	minor              // 1.2, 1.2.x
	full               // 1.2.3
)

// A comparator is an operator and a version, of which parts may be missing.
type comparator struct {
	op    string // "", "=", "!=", ">", "<", ">=", "<=", "~", "^"
	v     Version
	width width
	text  string
}

// parseComparator reads one comparator in the normal form that Masterminds
// prints: no spaces, hyphen ranges rewritten. The text was accepted by it.
func parseComparator(s string) (comparator, error) {
	rest := strings.TrimLeft(s, "=!<>~^")
	c := comparator{op: s[:len(s)-len(rest)], text: s}
	switch c.op {
	case "=>":
		c.op = ">="
	case "=<":
		c.op = "<="
	case "~>":
		c.op = "~"
	}
	rest, _, _ = strings.Cut(strings.TrimPrefix(rest, "v"), "+")
	nums, pre, _ := strings.Cut(rest, "-")
	c.v.pre = pre
	for _, dst := range []*uint64{&c.v.major, &c.v.minor, &c.v.patch} {
		var num string
		num, nums, _ = strings.Cut(nums, ".")
		if num == "" || num == "x" || num == "X" || num == "*" {
			return c, nil
		}
		n, err := strconv.ParseUint(num, 10, 64)
		if err != nil {
			return c, fmt.Errorf("%q is not a number", num)
		}
		*dst = n
		c.width++
	}
	return c, nil
}

// misleading says why a comparator that Masterminds accepts is refused, and
// what to write instead.
func (c comparator) misleading() (why, instead string) {
	if c.width != full && c.v.pre != "" {
		return fmt.Sprintf("%s has a pre-release without three numbers before it", c.text), c.completed()
	}
	if c.width == wild {
		switch c.op {
		case "^":
			return fmt.Sprintf("%s matches only 0.0.0", c.text), "*"
		case ">":
			return fmt.Sprintf("%s matches only versions above 0.0.0", c.text), "*"
		case "<":
			return fmt.Sprintf("%s matches nothing", c.text), "*"
		case "<=":
			return fmt.Sprintf("%s matches only 0.0.x", c.text), "*"
		case "!=":
			return fmt.Sprintf("%s matches everything but 0.0.0", c.text), "*"
		}
	}
	if c.op == "~" && c.width == full && c.v.major == 0 && c.v.minor == 0 && c.v.patch == 0 {
		return fmt.Sprintf("%s matches every version", c.text), "0.0.x"
	}
	return "", ""
}

// completed is the comparator with zeros for the numbers that are missing, or
// with "*" if all are.
func (c comparator) completed() string {
	op := c.op
	switch {
	case c.width == wild:
		return "*"
	case c.width == major && (op == "" || op == "=" || op == "~"):
		op = "^"
	case op == "" || op == "=":
		op = "~"
	}
	return fmt.Sprintf("%s%d.%d.0-%s", op, c.v.major, c.v.minor, c.v.pre)
}

// intervals returns the versions that satisfy the comparator, before the
// pre-release rule.
func (c comparator) intervals() []interval {
	if c.width == wild {
		return []interval{{bottom(), top()}}
	}
	switch c.op {
	case "!=":
		return c.others()
	case ">":
		if c.width == full {
			return []interval{{above(c.v), top()}}
		}
		return []interval{{c.next(), top()}}
	case ">=":
		return []interval{{at(c.v), top()}}
	case "<":
		if c.width == full {
			return []interval{{bottom(), at(c.v)}}
		}
		return []interval{{bottom(), floor(at(c.v))}}
	case "<=":
		if c.width == full {
			return []interval{{bottom(), above(c.v)}}
		}
		return []interval{{bottom(), floor(c.next())}}
	case "~":
		if c.width == full {
			return []interval{{at(c.v), floor(nextMinor(c.v))}}
		}
		return []interval{{at(c.v), floor(c.next())}}
	case "^":
		return []interval{{at(c.v), floor(c.breaking())}}
	}
	if c.width == full {
		return []interval{{at(c.v), above(c.v)}}
	}
	return []interval{{at(c.v), floor(c.next())}}
}

// next is the first release after all that share the named parts.
func (c comparator) next() bound {
	if c.width == major {
		return nextMajor(c.v)
	}
	return nextMinor(c.v)
}

// breaking is the first release that may break users of c.v: the leftmost
// number that is not zero counts.
func (c comparator) breaking() bound {
	switch {
	case c.v.major > 0 || c.width == major:
		return nextMajor(c.v)
	case c.v.minor > 0 || c.width == minor:
		return nextMinor(c.v)
	}
	return nextPatch(c.v)
}

// others is what != leaves.
func (c comparator) others() []interval {
	from, to := at(c.v), above(c.v)
	if c.width != full {
		from = at(Version{major: c.v.major, minor: c.v.minor, pre: "0"})
		to = floor(c.next())
	}
	out := make([]interval, 0, 2)
	if bottom().compare(from) < 0 {
		out = append(out, interval{bottom(), from})
	}
	if !to.inf {
		out = append(out, interval{to, top()})
	}
	return out
}
