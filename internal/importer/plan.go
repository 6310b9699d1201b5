package importer

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"drawbridge/internal/config"
)

// Plan is a configuration that was read, before it is written.
type Plan struct {
	// Left is what could not be carried, and why; Changed is what was carried in
	// another form. Both are in the order of the file.
	Left, Changed []config.Error

	program, file string
	doc           document
	secrets       []secretFile
	places        map[string]config.Pos // key path of ours → where it came from
}

// secretFile is a secret on its way to a file of its own.
type secretFile struct {
	name  string // below the folder of the configuration
	value config.Secret
}

// document is the part of a drawbridge.yaml that an import can fill.
type document struct {
	Networks named[network] `yaml:"networks,omitempty"`
	Accounts named[account] `yaml:"accounts,omitempty"`
	People   named[person]  `yaml:"people,omitempty"`
	Bridges  named[bridge]  `yaml:"bridges,omitempty"`
	Admin    *admin         `yaml:"admin,omitempty"`
	Log      *logging       `yaml:"log,omitempty"`
}

type network struct {
	Server       string `yaml:"server"`
	TLS          string `yaml:"tls,omitempty"`
	CAFile       string `yaml:"ca_file,omitempty"`
	Nick         string `yaml:"nick"`
	Username     string `yaml:"username,omitempty"`
	Realname     string `yaml:"realname,omitempty"`
	PasswordFile string `yaml:"password_file,omitempty"`
	SASL         *sasl  `yaml:"sasl,omitempty,flow"`
}

type sasl struct {
	Mechanism    string `yaml:"mechanism,omitempty"`
	Account      string `yaml:"account,omitempty"`
	PasswordFile string `yaml:"password_file"`
}

type account struct {
	JID          string `yaml:"jid"`
	PasswordFile string `yaml:"password_file"`
	Server       string `yaml:"server,omitempty"`
	TLS          string `yaml:"tls,omitempty"`
	AllowPlain   bool   `yaml:"allow_plain,omitempty"`
}

type person struct {
	JIDs []string `yaml:"jids,flow"`
}

type bridge struct {
	IRC     []channel   `yaml:"irc,omitempty"`
	XMPP    *bridgeXMPP `yaml:"xmpp,omitempty"`
	Require string      `yaml:"require"`
	Show    *show       `yaml:"show,omitempty"`
}

type channel struct {
	Network string `yaml:"network"`
	Channel string `yaml:"channel"`
	KeyFile string `yaml:"key_file,omitempty"`
}

type bridgeXMPP struct {
	Account string `yaml:"account"`
	Rooms   []muc  `yaml:"rooms"`
}

type muc struct {
	Room         string `yaml:"room"`
	Nick         string `yaml:"nick,omitempty"`
	PasswordFile string `yaml:"password_file,omitempty"`
}

type show struct {
	IRC   string `yaml:"irc,omitempty"`
	XMPP  string `yaml:"xmpp,omitempty"`
	Joins string `yaml:"joins,omitempty"`
}

type admin struct {
	People []string `yaml:"people,flow"`
}

type logging struct {
	Level string `yaml:"level"`
}

// named is a mapping that keeps its order.
type named[T any] []entry[T]

type entry[T any] struct {
	name string
	val  *T
}

// MarshalYAML writes the mapping in its order.
func (n named[T]) MarshalYAML() (any, error) {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for _, e := range n {
		var key, val yaml.Node
		key.SetString(e.name)
		if err := val.Encode(e.val); err != nil {
			return nil, err
		}
		out.Content = append(out.Content, &key, &val)
	}
	return out, nil
}

// IsZero reports whether there is nothing in it.
func (n named[T]) IsZero() bool { return len(n) == 0 }

// has reports whether a name is there, or one that is the same to the environment.
func (n named[T]) has(name string) bool {
	return slices.ContainsFunc(n, func(e entry[T]) bool { return config.SameName(e.name, name) })
}

// Counts are how many networks, accounts and bridges the plan has.
func (p *Plan) Counts() (networks, accounts, bridges int) {
	return len(p.doc.Networks), len(p.doc.Accounts), len(p.doc.Bridges)
}

// left notes what is not carried.
func (p *Plan) left(line int, key, fix, format string, args ...any) {
	p.Left = append(p.Left, problem(p.file, line, key, fix, format, args...))
}

// changed notes what is carried in another form.
func (p *Plan) changed(line int, key, fix, format string, args ...any) {
	p.Changed = append(p.Changed, problem(p.file, line, key, fix, format, args...))
}

// from notes where the value with a key path of ours came from.
func (p *Plan) from(key string, line int) {
	p.places[key] = config.Pos{File: p.file, Line: line}
}

// secret puts a secret into a file of its own, and returns its name.
func (p *Plan) secret(name, value string) string {
	used := func(name string) bool {
		return slices.ContainsFunc(p.secrets, func(s secretFile) bool { return strings.EqualFold(s.name, "secrets/"+name) })
	}
	path := "secrets/" + config.Name(name, "secret", used)
	p.secrets = append(p.secrets, secretFile{path, config.NewSecret(value)})
	return path
}

func (p *Plan) sort() {
	byLine := func(a, b config.Error) int { return a.Pos.Line - b.Pos.Line }
	for _, list := range []*[]config.Error{&p.Left, &p.Changed} {
		slices.SortStableFunc(*list, byLine)
		*list = slices.Compact(*list)
	}
}

// Render returns the configuration. There is no secret in it.
func (p *Plan) Render() ([]byte, error) {
	var b bytes.Buffer
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, "# "+format+"\n", args...) }
	line("Drawbridge, from %s (%s). All keys and their meaning: config.example.yaml.", inComment(filepath.Base(p.file)), p.program)
	line("These bridges relay clear text, as %s did. For encrypted ones see docs/migration.md.", p.program)
	for _, list := range []struct {
		head  string
		notes []config.Error
	}{{"Carried in another form:", p.Changed}, {"Not carried:", p.Left}} {
		if len(list.notes) == 0 {
			continue
		}
		b.WriteString("#\n")
		line("%s", list.head)
		for _, n := range list.notes {
			n.Pos.File = filepath.Base(n.Pos.File)
			line("- %s", inComment(n.Error()))
		}
	}
	b.WriteString("\n")
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(p.doc), enc.Close()); err != nil {
		return nil, fmt.Errorf("importer: write: %w", err)
	}
	return b.Bytes(), nil
}

// inComment makes foreign words harmless in a comment.
func inComment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffd {
			return '?'
		}
		return r
	}, s)
}

// Write writes the configuration to path and its secrets beside it, for this user
// alone, and loads it as every verb does. If anything fails nothing of it stays.
// The error wraps config.ErrExists, or is a config.Errors that names the places of
// the file that was read. It returns the files made.
func (p *Plan) Write(path string, opt config.Options) ([]string, error) {
	data, err := p.Render()
	if err != nil {
		return nil, err
	}
	w, err := config.NewFiles(path)
	if err != nil {
		return nil, err
	}
	made, err := p.write(w, path, data, opt)
	if err != nil {
		w.Undo()
		return nil, err
	}
	return made, nil
}

func (p *Plan) write(w *config.Files, path string, data []byte, opt config.Options) ([]string, error) {
	if len(p.secrets) > 0 {
		if err := w.Folder("secrets"); err != nil {
			return nil, err
		}
	}
	for _, s := range p.secrets {
		if err := w.Secret(s.name, s.value); err != nil {
			return nil, err
		}
	}
	if err := w.File(filepath.Base(path), data); err != nil {
		return nil, err
	}
	if _, err := config.Load(path, opt); err != nil {
		var list config.Errors
		if !errors.As(err, &list) {
			return nil, err
		}
		for i := range list {
			list[i].Pos = p.origin(list[i])
		}
		return nil, list
	}
	return w.Made(), nil
}

// origin returns where the value that an error is about came from.
func (p *Plan) origin(e config.Error) config.Pos {
	for key := e.Key; ; {
		if pos, ok := p.places[key]; ok {
			return pos
		}
		i := strings.LastIndexAny(key, ".[")
		if i < 0 {
			return config.Pos{File: p.file}
		}
		key = key[:i]
	}
}
