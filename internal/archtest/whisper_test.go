package archtest

import (
	"go/ast"
	"path/filepath"
	"testing"
)

// TestOnlyTheGuardWhispers: the words of the bot's own that go into a MUC in clear, and
// need no ClearRoom, are made in one place.
func TestOnlyTheGuardWhispers(t *testing.T) {
	used := 0
	for _, s := range sources(t) {
		if s.dir != "xmpp" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "ownBody" {
				if used++; filepath.ToSlash(s.path) != "xmpp/aside.go" {
					t.Errorf("%s writes a clear body without a licence", s.path)
				}
			}
			return true
		})
	}
	if used != 1 {
		t.Errorf("ownBody is used %d times: is the test looking for the right name?", used)
	}
}
