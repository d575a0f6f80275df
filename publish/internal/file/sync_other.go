//go:build !unix

package file

// SyncDir does nothing: here directories cannot be synced, and the system
// makes renames durable itself.
func SyncDir(string) error { return nil }
