package registry

// DamageError says that the directory of a registry is not as the registry left
// it, so that it does not open: going on could contradict what was published.
type DamageError struct {
	Dir  string // the registry's directory
	Why  string // what is wrong with which file
	Help string // one shell command that mends it; words in capitals are for the user to fill in

	err error // may be nil
}

// Error says what is wrong. Who opens the registry names the directory.
func (e *DamageError) Error() string { return "the registry is damaged: " + e.Why }

// Unwrap returns the cause, nil if a file is missing: the registry is there.
func (e *DamageError) Unwrap() error { return e.err }
