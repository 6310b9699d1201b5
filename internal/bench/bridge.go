package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// Spec says how to run a bridge-under-test. Command, env and config files are
// Go templates over Data.
type Spec struct {
	Name    string            `json:"name"`
	Kind    string            `json:"kind"`    // bot: a bot in IRC channels and MUCs; pair: IRC channel <-> XMPP contact
	Command []string          `json:"command"` // {{.Bin}} is -bin NAME=PATH
	Bin     string            `json:"bin"`
	Env     []string          `json:"env"`
	Files   map[string]string `json:"files"` // file in the bridge's folder -> template file beside the spec
	Codec   string            `json:"codec"`
	CodecA  string            `json:"codec_arg"`
	JoinS   float64           `json:"join_s"`         // how long to wait for it to join, 60 if 0
	RunsMs  int               `json:"settle_ms"`      // extra wait after the join
	SlackUs int               `json:"timer_slack_us"` // as a unit's TimerSlackNSec=, 0: the kernel's 50 µs
	Note    string            `json:"note"`
}

// Pairing is a channel and what it is bridged to: a MUC, or a contact.
type Pairing struct{ Channel, Room, RoomJID, Contact string }

// Data is what the templates of a Spec may name.
type Data struct {
	Bin, Dir                         string
	Host                             string
	IRCPort, XMPPPort                int
	IRCNick, MUCNick                 string
	User, JID, Password, Domain, MUC string
	CAFile                           string
	KeyDir                           string // keys made by the codec
	Pairs                            []Pairing
}

// LoadSpec reads a spec and the templates it names.
func LoadSpec(file string) (*Spec, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s := &Spec{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for k, v := range s.Files {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(file), v))
		if err != nil {
			return nil, err
		}
		s.Files[k] = string(b)
	}
	if s.JoinS == 0 {
		s.JoinS = 60
	}
	switch s.Kind {
	case "bot", "pair":
	default:
		return nil, errors.New("kind must be bot or pair")
	}
	return s, nil
}

func render(text string, d any) (string, error) {
	t, err := template.New("").Funcs(template.FuncMap{"base": filepath.Base, "trim": strings.TrimPrefix, "local": localpart, "fpr": fingerprint}).Parse(text)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, d); err != nil {
		return "", err
	}
	return b.String(), nil
}

// Prepare writes the files of the bridge and returns its process, not started.
func (s *Spec) Prepare(d Data) (*Proc, error) {
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return nil, err
	}
	for name, text := range s.Files {
		out, err := render(text, d)
		if err != nil {
			return nil, err
		}
		p := filepath.Join(d.Dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(p, []byte(out), 0o600); err != nil {
			return nil, err
		}
	}
	p := &Proc{Name: "bridge", Dir: d.Dir, Slack: time.Duration(s.SlackUs) * time.Microsecond}
	for _, a := range s.Command {
		out, err := render(a, d)
		if err != nil {
			return nil, err
		}
		p.Args = append(p.Args, out)
	}
	for _, e := range s.Env {
		out, err := render(e, d)
		if err != nil {
			return nil, err
		}
		p.Env = append(p.Env, out)
	}
	return p, nil
}

func waitFor(d time.Duration, f func() bool) bool {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return true
		}
	}
	return f()
}
