package link

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// A command is a relative symlink to its file, or on Windows a .cmd file that calls it.

func binPath(cmd string) string {
	if runtime.GOOS == "windows" {
		cmd += ".cmd"
	}
	return filepath.Join(binFolder, cmd)
}

// binTarget is what .bin/CMD says for to = NAME/path.
func binTarget(to string) string {
	if runtime.GOOS == "windows" {
		return "@\"%~dp0\\..\\" + strings.ReplaceAll(to, "/", `\`) + "\" %*\r\n"
	}
	return "../" + to
}

// binIs says that the command is as we make it.
func (l *linker) binIs(cmd, to string) bool {
	if runtime.GOOS == "windows" {
		b, err := l.root.ReadFile(binPath(cmd))
		return err == nil && string(b) == binTarget(to)
	}
	got, err := l.root.Readlink(binPath(cmd))
	return err == nil && got == binTarget(to)
}

// binOurs says that the command may be replaced: it is as we make it, or leads into a package of ours.
func (l *linker) binOurs(cmd, to, had string) bool {
	if l.binIs(cmd, to) || had != "" && l.binIs(cmd, had) {
		return true
	}
	got, err := l.root.Readlink(binPath(cmd))
	rel, ok := strings.CutPrefix(got, "../")
	if err != nil || !ok {
		return false
	}
	for name := range l.state.Packages {
		if strings.HasPrefix(rel, name+"/") {
			return true
		}
	}
	return false
}

func (l *linker) placeBin(cmd, to string) error {
	if err := l.root.Mkdir(binFolder, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	tmp, err := tmpName(), error(nil)
	if runtime.GOOS == "windows" {
		err = l.root.WriteFile(tmp, []byte(binTarget(to)), 0o644)
	} else {
		err = l.root.Symlink(binTarget(to), tmp)
	}
	if err == nil {
		err = l.root.Rename(tmp, binPath(cmd))
	}
	if err != nil {
		return fmt.Errorf("link command %s: %w", cmd, err)
	}
	l.state.Bin[cmd] = to
	return nil
}

// removeBin takes out a command that we made. What became of it otherwise stays.
func (l *linker) removeBin(cmd string) error {
	if l.binIs(cmd, l.state.Bin[cmd]) {
		if err := l.root.Remove(binPath(cmd)); err != nil {
			return fmt.Errorf("unlink command %s: %w", cmd, err)
		}
	}
	delete(l.state.Bin, cmd)
	_ = l.root.Remove(binFolder) // unless others are in it
	return nil
}
