//go:build race

package core_test

// slow makes tests take a sample.
const slow = true
