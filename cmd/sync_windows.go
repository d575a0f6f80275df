package cmd

// syncDir does nothing: NTFS journals renames.
func syncDir(string) error { return nil }
