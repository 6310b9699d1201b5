package archtest

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// named finds in a document what it says shows something: `package.TestName`, or a
// transcript.
var named = regexp.MustCompile("`(?:([a-z0-9/]+)\\.)?((?:Test|Fuzz)[A-Z]\\w*)`|`([a-z0-9/]+/testdata/[^` ]+)`")

// TestDocsNameTestsThatExist holds the documents to the tests they name.
func TestDocsNameTestsThatExist(t *testing.T) {
	tests := map[string]bool{} // "irc.TestX" and, for names without a package, "TestX"
	for _, s := range sources(t) {
		if !strings.HasSuffix(s.path, "_test.go") {
			continue
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				tests[s.dir+"."+f.Name.Name], tests[f.Name.Name] = true, true
			}
		}
	}
	for _, doc := range []string{"docs/protocols.md", "docs/threat-model.md"} {
		data, err := os.ReadFile(filepath.Join(root, doc))
		if err != nil {
			t.Fatal(err)
		}
		found := named.FindAllStringSubmatch(string(data), -1)
		if len(found) < 10 {
			t.Errorf("%s names %d tests: is this test looking for the right form?", doc, len(found))
		}
		for _, m := range found {
			dir, test, file := m[1], m[2], m[3]
			switch {
			case file != "":
				if _, err := os.Stat(filepath.Join(root, file)); err != nil {
					t.Errorf("%s names %s, which is not there", doc, file)
				}
			case dir != "" && !tests[dir+"."+test], dir == "" && !tests[test]:
				t.Errorf("%s names %s, which is not there", doc, strings.Trim(m[0], "`"))
			}
		}
	}
}
