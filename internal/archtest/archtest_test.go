// Package archtest holds the walls of the house: who may import whom, and who
// may look into message text. It reads the sources itself, because a test that
// asks `go list` is cached wrongly.
package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// walls lists, for each folder, what of ours its non-test files may import.
// A folder without a row may import everything.
var walls = map[string][]string{
	"policy":             {},
	"bridge":             {"policy"},
	"bridge/guard":       {"bridge", "bridge/proof", "policy"},
	"bridge/proof":       {},
	"bridge/migrate":     {"bridge", "bridge/guard", "bridge/wording", "policy"},
	"bridge/provision":   {"bridge", "policy"},
	"bridge/move":        {"bridge", "bridge/migrate", "bridge/wording", "policy"},
	"bridge/wording":     {},
	"bridge/link":        {"bridge", "bridge/guard", "bridge/proof", "bridge/wording", "policy"},
	"irc":                {"bridge", "policy", "internal/dialer", "internal/scram"},
	"xmpp":               {"bridge", "policy", "xmpp/element", "xmpp/form", "xmpp/register", "xmpp/stream", "xmpp/e2ee", "internal/dialer"},
	"xmpp/element":       {},
	"xmpp/form":          {"xmpp/element"},
	"xmpp/register":      {"xmpp/element", "xmpp/form"},
	"xmpp/stream":        {"xmpp/element", "internal/dialer", "internal/scram"},
	"internal/scram":     {},
	"xmpp/e2ee":          {"policy", "xmpp/element"},
	"xmpp/e2ee/e2eetest": {"policy", "xmpp/e2ee", "xmpp/element"},
	"xmpp/openpgp":       {"policy", "xmpp/e2ee", "xmpp/element"},
	"xmpp/ox":            {"policy", "xmpp/e2ee", "xmpp/element", "xmpp/openpgp"},
	"xmpp/otr":           {"policy", "xmpp/e2ee", "xmpp/element", "xmpp/otr/engine"},
	"xmpp/otr/engine":    {},
	"xmpp/trust":         {"policy", "xmpp/e2ee"},
	"internal/config":    {"policy"},
	"internal/store":     {"policy", "bridge", "bridge/guard", "bridge/migrate", "xmpp/e2ee"},
	"internal/archive":   {},
	"internal/importer":  {"internal/config"},
	"internal/lab":       {},
	"internal/web":       {"bridge", "bridge/guard", "bridge/migrate"},
}

// noNet lists the folders whose files may not touch the network, and policy may
// not touch the machine at all.
var noNet = map[string][]string{
	"policy":           {"net", "os", "log", "log/slog"},
	"bridge":           {"net", "os"},
	"bridge/provision": {"net", "os"},
	"bridge/guard":     {"net", "os"},
	"bridge/link":      {"net", "os"},
	"bridge/proof":     {"net", "os", "log", "log/slog"},
	"bridge/migrate":   {"net", "os"},
	"bridge/move":      {"net", "os"},
	"bridge/wording":   {"net", "os", "log", "log/slog"},
	"xmpp/element":     {"net", "os"},
	"xmpp/form":        {"net", "os"},
	"xmpp/register":    {"net", "os"},
	"xmpp/e2ee":        {"net", "os"},
	"xmpp/openpgp":     {"net"},
	"xmpp/ox":          {"net", "os"},
	"xmpp/otr":         {"net", "os"},
	"xmpp/otr/engine":  {"net", "os"},
	"xmpp/trust":       {"net", "os"},
}

// readers lists the only files that may call Reveal, and so look into text.
var readers = map[string]string{
	"irc/encode.go":          "the IRC encoder",
	"xmpp/encode.go":         "the clear-body encoder, which needs a ClearRoom",
	"xmpp/receive.go":        "takes an e2ee.Opened over into a bridge.Text",
	"xmpp/openpgp/seal.go":   "Seal of XEP-0027",
	"xmpp/ox/seal.go":        "Seal of OX",
	"xmpp/otr/seal.go":       "Seal of OTR",
	"internal/store/seal.go": "the store's sealer",
}

// exposers lists the only files that may call Expose, and so read a secret of the config.
var exposers = map[string]string{
	"cmd/drawbridge/wire.go":    "hands secrets to what logs in or seals with them",
	"cmd/drawbridge/keyring.go": "opens an account's secret key",
	"cmd/drawbridge/change.go":  "compares those that only a restart changes",
}

type source struct {
	path, dir string
	file      *ast.File
}

func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && rel != "." || d.Name() == "testdata" || rel == "internal/tools") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		out = append(out, source{rel, filepath.ToSlash(filepath.Dir(rel)), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 5 {
		t.Fatalf("only %d sources found below %s", len(out), root)
	}
	return out
}

func TestImportWalls(t *testing.T) {
	for _, s := range sources(t) {
		if strings.HasSuffix(s.path, "_test.go") {
			continue
		}
		for _, imp := range s.file.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			if slices.Contains(noNet[s.dir], name) {
				t.Errorf("%s imports %s: %s stays away from it", s.path, name, s.dir)
			}
			ours, ok := strings.CutPrefix(name, "drawbridge/")
			if !ok {
				continue
			}
			if allowed, held := walls[s.dir]; held && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s: %s may import only %v of ours", s.path, ours, s.dir, allowed)
			}
		}
	}
}

func TestOnlyEncodersRevealText(t *testing.T) {
	onlyUsedBy(t, "Reveal", readers)
}

func TestOnlyTheWiringExposesSecrets(t *testing.T) {
	onlyUsedBy(t, "Expose", exposers)
}

// onlyUsedBy fails for each use of the method outside the files allowed.
func onlyUsedBy(t *testing.T, method string, allowed map[string]string) {
	t.Helper()
	used := 0
	for _, s := range sources(t) {
		if strings.HasSuffix(s.path, "_test.go") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == method {
				if used++; allowed[filepath.ToSlash(s.path)] == "" {
					t.Errorf("%s uses %s: only %v may", s.path, method, allowed)
				}
			}
			return true
		})
	}
	if used == 0 {
		t.Errorf("nothing uses %s: is the test looking for the right name?", method)
	}
}

func TestNoInitAndNoRegistries(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function: wire.go lists what exists", s.path)
			}
		}
	}
}

// TestOnlyTheTableLicensesClearText: without a ClearRoom no encoder writes a clear
// body, and one file makes them, of floors that are clear.
func TestOnlyTheTableLicensesClearText(t *testing.T) {
	const maker = "bridge/table.go"
	made := 0
	for _, s := range sources(t) {
		path := filepath.ToSlash(s.path)
		if strings.HasSuffix(path, "_test.go") || s.dir == "bridge/bridgetest" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := ""
			switch f := call.Fun.(type) {
			case *ast.Ident:
				name = f.Name
			case *ast.SelectorExpr:
				name = f.Sel.Name
			}
			if name == "NewClearRoom" {
				if made++; path != maker {
					t.Errorf("%s makes a ClearRoom: only %s may", path, maker)
				}
			}
			return true
		})
	}
	if made == 0 {
		t.Errorf("nothing makes a ClearRoom: is the test looking for the right name?")
	}
}
