package importer

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"drawbridge/internal/config"
)

// maxFile bounds a file that is read, as that of the configuration is bounded.
const maxFile = 1 << 20

// table is a TOML table that knows its lines. Keys are looked for without their
// case, as matterbridge does.
type table struct {
	line  int
	items []item
}

// item is one key of a table. Its value is a string, bool, number, time (both as
// they stand in the file), []any, *table, or []*table.
type item struct {
	key  string
	line int
	val  any
}

// number is a number or a time as it was written.
type number string

// get returns the item with the key, nil if there is none.
func (t *table) get(key string) *item {
	for i := range t.items {
		if strings.EqualFold(t.items[i].key, key) {
			return &t.items[i]
		}
	}
	return nil
}

// parseTOML reads a TOML file. The error is a config.Error with its line, and
// cites nothing of the file: it may be a password.
func parseTOML(file string, data []byte) (*table, error) {
	var all map[string]any
	if err := toml.Unmarshal(data, &all); err != nil {
		return nil, tomlProblem(file, data, err)
	}
	b := &tomlBuilder{file: file, root: &table{line: 1}}
	for i, c := range data {
		if c == '\n' {
			b.ends = append(b.ends, i)
		}
	}
	b.at = b.root
	b.p.Reset(data)
	for b.p.NextExpression() {
		if err := b.expression(b.p.Expression()); err != nil {
			return nil, err
		}
	}
	if err := b.p.Error(); err != nil {
		return nil, tomlProblem(file, data, err)
	}
	return b.root, nil
}

// tomlProblem says where a file is not TOML, and the likely way out.
func tomlProblem(file string, data []byte, err error) error {
	e := config.Error{Pos: config.Pos{File: file}, What: "is not TOML"}
	var decode *toml.DecodeError
	if !errors.As(err, &decode) {
		return e
	}
	e.Pos.Line, e.Pos.Col = decode.Position()
	e.What += ": " + strings.TrimPrefix(decode.Error(), "toml: ")
	lines := bytes.Split(data, []byte("\n"))
	if i := e.Pos.Line - 1; i >= 0 && i < len(lines) {
		_, value, isKey := bytes.Cut(lines[i], []byte("="))
		value = bytes.TrimSpace(value)
		if isKey && len(value) > 0 && !bytes.ContainsAny(value[:1], `"'[{`) {
			e.Fix = "put the value in quotes"
		}
	}
	return e
}

// tomlBuilder makes tables of what the parser finds. The file has passed the
// decoder, so its keys are told once and its tables are tables.
type tomlBuilder struct {
	file string
	p    unstable.Parser
	ends []int // offsets of the line ends
	root *table
	at   *table // the table that keys are for
}

func (b *tomlBuilder) line(r unstable.Range) int {
	return 1 + sort.SearchInts(b.ends, int(r.Offset))
}

func (b *tomlBuilder) expression(n *unstable.Node) error {
	switch n.Kind {
	case unstable.KeyValue:
		return b.keyValue(b.at, n)
	case unstable.Table, unstable.ArrayTable:
		var keys []*unstable.Node
		for it := n.Key(); it.Next(); {
			keys = append(keys, it.Node())
		}
		t := b.root
		var err error
		for i, k := range keys {
			last := i == len(keys)-1
			if t, err = b.step(t, string(k.Data), b.line(k.Raw), last && n.Kind == unstable.ArrayTable); err != nil {
				return err
			}
		}
		b.at = t
	}
	return nil
}

// step goes into a table, which is made if need be. more adds one to an array of
// tables.
func (b *tomlBuilder) step(t *table, key string, line int, more bool) (*table, error) {
	i := t.exact(key)
	if i == nil {
		t.items = append(t.items, item{key: key, line: line})
		i = &t.items[len(t.items)-1]
	}
	switch v := i.val.(type) {
	case nil:
		sub := &table{line: line}
		i.val = sub
		if more {
			i.val = []*table{sub}
		}
		return sub, nil
	case *table:
		if !more {
			return v, nil
		}
	case []*table:
		if more {
			v = append(v, &table{line: line})
			i.val = v
		}
		return v[len(v)-1], nil
	}
	return nil, config.Error{Pos: config.Pos{File: b.file, Line: line}, What: "is not TOML: a key is a table and a value"}
}

// exact returns the item with the key as it is written: TOML minds the case.
func (t *table) exact(key string) *item {
	for i := range t.items {
		if t.items[i].key == key {
			return &t.items[i]
		}
	}
	return nil
}

func (b *tomlBuilder) keyValue(t *table, n *unstable.Node) error {
	var key *unstable.Node
	var err error
	for it := n.Key(); it.Next(); {
		if key != nil {
			if t, err = b.step(t, string(key.Data), b.line(key.Raw), false); err != nil {
				return err
			}
		}
		key = it.Node()
	}
	val, err := b.value(n.Value())
	if err != nil {
		return err
	}
	t.items = append(t.items, item{key: string(key.Data), line: b.line(key.Raw), val: val})
	return nil
}

func (b *tomlBuilder) value(n *unstable.Node) (any, error) {
	switch n.Kind {
	case unstable.String:
		return string(n.Data), nil
	case unstable.Bool:
		return string(n.Data) == "true", nil
	case unstable.Array:
		out := []any{}
		for it := n.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			v, err := b.value(it.Node())
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return tables(out), nil
	case unstable.InlineTable:
		t := &table{line: b.line(n.Raw)}
		for it := n.Children(); it.Next(); {
			if it.Node().Kind != unstable.KeyValue {
				continue
			}
			if err := b.keyValue(t, it.Node()); err != nil {
				return nil, err
			}
		}
		return t, nil
	}
	return number(n.Data), nil
}

// tables returns a list of inline tables as an array of tables, which is what it
// is.
func tables(list []any) any {
	var out []*table
	for _, v := range list {
		t, ok := v.(*table)
		if !ok {
			return list
		}
		out = append(out, t)
	}
	if len(out) == 0 {
		return list
	}
	return out
}

// empty reports whether a value says nothing: what sample files are full of.
func empty(v any) bool {
	switch v := v.(type) {
	case string:
		return v == ""
	case bool:
		return !v
	case number:
		f, err := strconv.ParseFloat(string(v), 64)
		return err == nil && f == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// kind names what a value is, for errors.
func kind(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case bool:
		return "true or false"
	case number:
		return "a number"
	case *table:
		return "a table"
	}
	return "a list"
}

// problem is a config.Error at a line of the file.
func problem(file string, line int, key, fix, format string, args ...any) config.Error {
	return config.Error{Pos: config.Pos{File: file, Line: line}, Key: key, What: fmt.Sprintf(format, args...), Fix: fix}
}
