package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge"

	"gopkg.in/yaml.v3"
)

// The example is the manual, the README's is what people begin with, and one is for a
// bot that guards alone: all load as they stand, once the files that they name are there.
func TestExamplesLoad(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```yaml\n")
	block, rest, _ := strings.Cut(rest, "```")
	_, rest, _ = strings.Cut(rest, "```yaml\n")
	rooms, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("README.md has no configuration, or none of a guarded room")
	}
	alone, err := os.ReadFile("../../contrib/examples/guard-only.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"config.example.yaml": example(t), "README.md": block, "README.md, with a guarded room": block + rooms, "guard-only.yaml": string(alone)} {
		t.Run(name, func(t *testing.T) { loads(t, text) })
	}
}

func loads(t *testing.T, text string) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "c.yaml"), text, 0o600)
	for _, m := range regexp.MustCompile(`(secrets|keys)/[a-z.-]*`).FindAllString(text, -1) {
		path := filepath.Join(dir, m)
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(m)), 0o700); err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasSuffix(m, ".pem"):
			write(t, path, certificate(t), 0o600)
		case !strings.HasSuffix(m, "/"):
			write(t, path, "a secret of more than 32 characters", 0o600)
		}
	}
	c, err := Load(filepath.Join(dir, "c.yaml"), Options{CheckTemplate: bridge.CheckTemplate})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
}

// Every key the loader knows stands in the example, in its place.
func TestExampleHasEveryKey(t *testing.T) {
	text := example(t)
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	stands(doc.Content[0], "", there)
	known := map[string]bool{}
	every(reflect.TypeFor[Config](), "", known)
	if len(known) < 70 {
		t.Fatalf("only %d keys found", len(known))
	}
	for key, inline := range known {
		if inline && strings.Contains(text, "# "+lastKey(key)+": ") {
			continue
		}
		if !there[key] {
			t.Errorf("%s is not in config.example.yaml", key)
		}
	}
}

// every collects the key paths of a block, with * for names; true for secrets,
// which may stand in a comment.
func every(typ reflect.Type, path string, into map[string]bool) {
	for _, f := range fieldsOf(typ) {
		at := join(path, f.key)
		into[at] = f.tag.has("secret")
		if f.tag.has("secret") {
			into[at+"_file"] = true
			continue
		}
		ft := typ.Field(f.index).Type
		if ft == floorType {
			into[at+".in"], into[at+".out"] = false, false
			continue
		}
		for ft.Kind() == reflect.Pointer || ft.Kind() == reflect.Slice {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct {
			if f.tag.has("named") {
				at += ".*"
			}
			every(ft, at, into)
		}
	}
}

func stands(n *yaml.Node, path string, into map[string]bool) {
	named := slices.Contains([]string{"networks", "accounts", "people", "bridges", "rooms", "groups", "migration", "people.*.irc", "safety.peers", "safety.peers.*.irc"}, path)
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			at := join(path, n.Content[i].Value)
			if named {
				at = path + ".*"
			}
			into[at] = true
			stands(n.Content[i+1], at, into)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			stands(item, path, into)
		}
	}
}

// Without its comments the example is still strict: a key twice as deep or a
// name too many would be told. This holds the comments to the loader's choices.
func TestExampleNamesEveryChoice(t *testing.T) {
	text := example(t)
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		for _, f := range fieldsOf(typ) {
			for _, word := range f.tag.words("oneof") {
				line := regexp.MustCompile(`(?m)^.*\b` + f.key + `:.*\b` + regexp.QuoteMeta(word) + `\b`)
				if !line.MatchString(text) {
					t.Errorf("%s: the choice %q is not in the line of its key", join(path, f.key), word)
				}
			}
			ft := typ.Field(f.index).Type
			for ft.Kind() == reflect.Pointer || ft.Kind() == reflect.Slice {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct {
				walk(ft, join(path, f.key))
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
}

func example(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// certificate returns a self-signed certificate and its key, as PEM.
func certificate(t testing.TB) string {
	t.Helper()
	text, err := oneCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var oneCertificate = sync.OnceValues(func() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	return string(slices.Concat(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))), nil
})
