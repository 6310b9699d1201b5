package bridge_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"drawbridge/bridge"
)

const canary = "canary-7f3a"

// TestTextNeverPrints: whatever is done to a Text by mistake, it is not there.
func TestTextNeverPrints(t *testing.T) {
	m := bridge.Message{Text: bridge.NewText(canary)}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", m.Text, &m.Text, struct{ T bridge.Text }{m.Text})
	}
	fmt.Fprintln(&out, m.Text.String(), m.Text.GoString(), m, errors.New(fmt.Sprint(m.Text)))
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "text", m.Text, "message", m)
	}
	if strings.Contains(out.String(), canary) {
		t.Errorf("printed:\n%s", out.String())
	}
	if m.Text.Reveal() != canary || m.Text.Len() != len(canary) {
		t.Error("lost its text")
	}
}

func TestTextNeverMarshals(t *testing.T) {
	text := bridge.NewText(canary)
	type holder struct{ T bridge.Text }
	in := holder{text}
	var buf bytes.Buffer
	for name, marshal := range map[string]func() error{
		"json": func() error { b, err := json.Marshal(in); buf.Write(b); return err },
		"xml":  func() error { b, err := xml.Marshal(in); buf.Write(b); return err },
		"yaml": func() error { b, err := yaml.Marshal(in); buf.Write(b); return err },
		"gob":  func() error { return gob.NewEncoder(&buf).Encode(in) },
	} {
		if err := marshal(); !errors.Is(err, bridge.ErrRedacted) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if strings.Contains(buf.String(), canary) {
		t.Errorf("written: %q", buf.String())
	}
}
