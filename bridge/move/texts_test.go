package move

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"drawbridge/bridge/wording"
)

// TestEachTextIsSaid: each key is said somewhere, and each that is said is a text. What
// all are told (all_…) is package migrate's. Package link says the rest of its step.
func TestEachTextIsSaid(t *testing.T) {
	said := saidKeys(t, "*.go")
	maps.Copy(said, saidKeys(t, "../link/*.go"))
	for _, c := range clients {
		for _, m := range c.methods {
			said["client_"+c.key+"_"+m], said["key_"+m] = true, true
		}
	}
	for _, key := range wording.Builtin().Keys() {
		if !said[key] && !strings.HasPrefix(key, "all_") {
			t.Errorf("nobody says %s", key)
		}
		delete(said, key)
	}
	for key := range said {
		if strings.Contains(key, "_") {
			t.Errorf("%s is said, and is no text", key)
		}
	}
}

// saidKeys are the strings of a package that look like keys.
func saidKeys(t *testing.T, sources string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	files, err := filepath.Glob(sources)
	if err != nil || len(files) == 0 {
		t.Fatal("no sources: ", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") == "" && !strings.HasSuffix(s, "_") {
					out[s] = true
				}
			}
			return true
		})
	}
	return out
}
