package importer

import (
	"errors"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"drawbridge/internal/config"
)

// Bounds of a YAML file, whose aliases may make much of little.
const (
	maxYAMLDepth = 32
	maxYAMLItems = 100_000
)

// parse reads a file in the form that its name tells, as matterbridge does: YAML and JSON
// (which is YAML) by their endings, else TOML.
func parse(file string, data []byte) (*table, error) {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".yaml", ".yml":
		return parseYAML(file, "YAML", data)
	case ".json":
		return parseYAML(file, "JSON", data)
	}
	return parseTOML(file, data)
}

// yamlLine is where an error of the parser says that it is. Nothing else of it is told: it
// may cite the file.
var yamlLine = regexp.MustCompile(`\bline ([0-9]+)`)

// parseYAML reads a YAML file. The error is a config.Error with its line, and cites nothing
// of the file: it may be a password.
func parseYAML(file, form string, data []byte) (*table, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		e := config.Error{Pos: config.Pos{File: file}, What: "is not " + form}
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			e.Pos.Line, _ = strconv.Atoi(m[1])
		}
		return nil, e
	}
	b := &yamlBuilder{file: file, form: form}
	if len(doc.Content) == 0 {
		return &table{line: 1}, nil
	}
	v, err := b.value(doc.Content[0], 0)
	if err != nil {
		return nil, err
	}
	root, ok := v.(*table)
	if !ok {
		return nil, b.problem(doc.Content[0].Line, "must be a mapping of keys to values, but is "+kind(v))
	}
	return root, nil
}

// yamlBuilder makes tables of nodes.
type yamlBuilder struct {
	file, form string
	items      int
}

func (b *yamlBuilder) problem(line int, what string) error {
	return config.Error{Pos: config.Pos{File: b.file, Line: line}, What: what}
}

// value makes the value of a node: nil where it is null.
func (b *yamlBuilder) value(n *yaml.Node, depth int) (any, error) {
	if b.items++; b.items > maxYAMLItems || depth > maxYAMLDepth {
		return nil, b.problem(n.Line, "is too much "+b.form+", or too deep")
	}
	switch n.Kind {
	case yaml.AliasNode:
		return b.value(n.Alias, depth+1)
	case yaml.MappingNode:
		return b.table(n, depth)
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			v, err := b.value(c, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return tables(list), nil
	}
	return b.scalar(n)
}

func (b *yamlBuilder) table(n *yaml.Node, depth int) (*table, error) {
	t := &table{line: n.Line}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			return nil, b.problem(key.Line, "keys must be words")
		}
		if t.exact(key.Value) != nil {
			return nil, b.problem(key.Line, "a key stands twice")
		}
		v, err := b.value(n.Content[i+1], depth+1)
		switch {
		case err != nil:
			return nil, err
		case v != nil: // null is as if it were not there
			t.items = append(t.items, item{key: key.Value, line: key.Line, val: v})
		}
	}
	return t, nil
}

func (b *yamlBuilder) scalar(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		var yes bool
		if err := n.Decode(&yes); err != nil {
			return nil, b.problem(n.Line, "is not "+b.form)
		}
		return yes, nil
	case "!!int", "!!float", "!!timestamp":
		return number(n.Value), nil
	case "!!str":
		return n.Value, nil
	}
	return nil, b.problem(n.Line, "is no text, number, true or false")
}

// asProblem is the config.Error of an error of parse.
func asProblem(err error) config.Errors {
	var one config.Error
	errors.As(err, &one)
	return config.Errors{one}
}
