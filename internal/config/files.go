package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrExists is wrapped where a file to be written is there already.
var ErrExists = errors.New("exists already, and nothing is overwritten")

// Files makes a configuration and what belongs to it, readable for this user
// alone, and can take all of it back. It writes over nothing.
type Files struct {
	dir  string
	made []string // files and folders, in the order they were made
}

// NewFiles returns Files for the configuration at path. The error wraps ErrExists
// if it is there already.
func NewFiles(path string) (*Files, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("%s %w", path, ErrExists)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &Files{dir: filepath.Dir(path)}, nil
}

// Folder makes a folder beside the configuration if it is not there.
func (w *Files) Folder(name string) error {
	path := filepath.Join(w.dir, name)
	err := os.Mkdir(path, 0o700)
	if err == nil {
		w.made = append(w.made, path)
	} else if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// File makes a file, by its name beside the configuration. The error wraps
// ErrExists if it is there already.
func (w *Files) File(name string, data []byte) error {
	path := filepath.Join(w.dir, name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s %w", path, ErrExists)
	} else if err != nil {
		return err
	}
	w.made = append(w.made, path)
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// Secret makes a file with a secret, as File does.
func (w *Files) Secret(name string, s Secret) error { return w.File(name, []byte(s.value+"\n")) }

// Made returns the files made, in their order.
func (w *Files) Made() []string {
	var out []string
	for _, path := range w.made {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			out = append(out, path)
		}
	}
	return out
}

// Undo removes what was made. A folder with something else in it stays.
func (w *Files) Undo() {
	for _, path := range slices.Backward(w.made) {
		_ = os.Remove(path)
	}
}

// Name makes a name, as of a network or a bridge, of s, else takes the other. It
// is none for which taken says so: a number follows then.
func Name(s, other string, taken func(name string) bool) string {
	base := nameFrom(s, other)
	name := base
	for n := 2; taken(name); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

// SameName reports whether two names are one to the environment.
func SameName(a, b string) bool { return strings.EqualFold(envName(a), envName(b)) }
