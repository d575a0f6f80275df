package pubgrub

import (
	"errors"
	"fmt"
)

// ErrUnsatisfiable says that there is no solution; [Solver.Proof] says why.
var ErrUnsatisfiable = errors.New("no set of versions fits")

// A BudgetError says that the search was given up with nothing proved.
type BudgetError struct {
	Conflicts int   // analysed
	Package   int32 // took part in most of them
}

func (e *BudgetError) Error() string {
	return fmt.Sprintf("no answer after %d conflicts", e.Conflicts)
}
