package cbor

import "math"

// open is a list or map that Skip is inside of.
type open struct {
	left int    // values still to come, keys of a map not counted
	keys bool   // a map: a key comes before each value
	last []byte // the key before
}

// Skip reads one value of any kind, nested at most MaxDepth deep. It uses no recursion.
func (r *Reader) Skip() {
	var stack [MaxDepth]open
	depth := 0
	for r.err == nil {
		n, isMap, isContainer := r.skipOne()
		if isContainer && n > 0 {
			if depth == MaxDepth {
				r.Fail(errDepth)
				return
			}
			stack[depth] = open{left: n, keys: isMap} //nolint:gosec // G602: depth is below MaxDepth
			depth++
		}
		for depth > 0 && stack[depth-1].left == 0 {
			depth--
		}
		if depth == 0 {
			return
		}
		top := &stack[depth-1]
		top.left--
		if top.keys {
			r.skipKey(top)
		}
	}
}

// skipKey reads a map key, which must come after the one before.
func (r *Reader) skipKey(m *open) {
	at := r.off
	k := r.text()
	if r.err != nil {
		return
	}
	if m.last != nil && !Before(string(m.last), string(k)) {
		r.off = at
		r.Fail(errOrder)
		return
	}
	m.last = k
}

// skipOne reads a scalar, or the start of a list or map of n values.
func (r *Reader) skipOne() (n int, isMap, isContainer bool) {
	if r.off == len(r.buf) {
		r.Fail(errShort)
		return 0, false, false
	}
	initial := r.buf[r.off]
	switch initial >> 5 {
	case majorUint:
		r.Uint()
	case majorInt:
		at := r.off
		if r.head(majorInt, errInt) > math.MaxInt64 {
			r.off = at
			r.Fail(errInt)
		}
	case majorBytes:
		r.Bytes()
	case majorText:
		r.text()
	case majorList:
		return r.List(), false, true
	case majorMap:
		return r.Map(), true, true
	case majorTag:
		r.LinkBytes()
	default:
		if initial != initialNull {
			r.skipBool()
			return 0, false, false
		}
		r.off++
	}
	return 0, false, false
}

func (r *Reader) skipBool() {
	if c := r.buf[r.off]; c != initialTrue && c != initialFalse {
		r.Fail(errForm)
		return
	}
	r.off++
}
