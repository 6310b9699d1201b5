package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGeneratedFiles: the manual page and the completions in the tree are those
// that this program makes. `make man` writes them.
func TestGeneratedFiles(t *testing.T) {
	for file, args := range map[string][]string{
		"docs/drawbridge.1":                   {"man"},
		"contrib/completions/drawbridge.bash": {"completion", "bash"},
		"contrib/completions/_drawbridge":     {"completion", "zsh"},
		"contrib/completions/drawbridge.fish": {"completion", "fish"},
	} {
		want, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Error(err)
			continue
		}
		var out strings.Builder
		if code := run(args, streams{nil, &out, os.Stderr}); code != exitOK {
			t.Errorf("drawbridge %v: exit code %d", args, code)
		}
		if out.String() != string(want) {
			t.Errorf("%s is not what `drawbridge %s` prints: make man", file, strings.Join(args, " "))
		}
	}
}
