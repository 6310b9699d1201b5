package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"drawbridge/policy"

	"gopkg.in/yaml.v3"
)

// field is one key of a block, as the tags of its struct field tell it.
type field struct {
	key   string
	index int
	tag   tag
}

// tag holds the rules of one value: the cfg tag, "required,oneof=a|b".
type tag map[string]string

func (t tag) has(rule string) bool { _, ok := t[rule]; return ok }

func (t tag) words(rule string) []string {
	if t[rule] == "" {
		return nil
	}
	return strings.Split(t[rule], "|")
}

// limitFix is the way out of a limit that allows nothing, or anything.
func (t tag) limitFix() string {
	if t.has("limit") {
		return "leave it out for none, or for the default"
	}
	return ""
}

func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("yaml")
		if key == "" || key == "-" {
			continue
		}
		rules := tag{}
		for _, r := range strings.Split(f.Tag.Get("cfg"), ",") {
			name, value, _ := strings.Cut(r, "=")
			rules[name] = value
		}
		out = append(out, field{key, i, rules})
	}
	return out
}

// keysOf lists the keys that may stand in a block.
func keysOf(t reflect.Type) []string {
	var out []string
	for _, f := range fieldsOf(t) {
		out = append(out, f.key)
		if f.tag.has("secret") {
			out = append(out, f.key+"_file")
		}
	}
	return out
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

var (
	secretType   = reflect.TypeFor[Secret]()
	durationType = reflect.TypeFor[time.Duration]()
	floorType    = reflect.TypeFor[policy.Floor]()
)

// document decodes the whole file into c.
func (d *decoder) document(c *Config, root *yaml.Node) {
	d.block(reflect.ValueOf(c).Elem(), root, "", 0)
}

// enter follows an alias and counts; false means that the file is too much.
func (d *decoder) enter(n *yaml.Node, path string, depth int) (*yaml.Node, bool) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.visits++; d.visits == maxVisits {
		d.fail(path, "write it without anchors and aliases", "holds more than %d values", maxVisits)
	}
	if depth == maxDepth {
		d.fail(path, "", "is nested deeper than %d levels", maxDepth)
	}
	return n, d.visits < maxVisits && depth < maxDepth
}

// pairs calls use for every key of a mapping, after looking at the keys
// themselves. It returns false if n is no mapping.
func (d *decoder) pairs(n *yaml.Node, path string, use func(key string, k, v *yaml.Node)) bool {
	if n.Kind != yaml.MappingNode {
		what := kindOf(n)
		if what == "empty" {
			d.fail(path, "remove it, or write its keys below it", "is empty")
		} else {
			d.fail(path, "", "must be a mapping (key: value), but is %s", what)
		}
		return false
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		p := Pos{d.file, k.Line, k.Column}
		if k.Kind != yaml.ScalarNode || k.Value == "" {
			d.failAt(p, path, "", "has a key that is %s", kindOf(k))
			continue
		}
		if k.Tag == "!!merge" {
			d.failAt(p, join(path, "<<"), "write the keys out", "merging is not supported")
			continue
		}
		key := clip(k.Value)
		if line, twice := seen[key]; twice {
			d.failAt(p, join(path, key), "keep one of them", "stands twice, first in line %d", line)
			continue
		}
		seen[key] = k.Line
		use(key, k, v)
	}
	return true
}

// block decodes a mapping with fixed keys.
func (d *decoder) block(v reflect.Value, n *yaml.Node, path string, depth int) {
	n, ok := d.enter(n, path, depth)
	if !ok {
		return
	}
	fields := fieldsOf(v.Type())
	d.pairs(n, path, func(key string, k, val *yaml.Node) {
		at := join(path, key)
		p := Pos{d.file, k.Line, k.Column}
		for _, f := range fields {
			if f.key == key {
				d.pos[at] = p
				d.value(v.Field(f.index), f.tag, val, at, depth+1)
				return
			}
			if f.tag.has("secret") && f.key+"_file" == key {
				d.pos[at] = p
				d.secretFile(join(path, f.key), val, at)
				return
			}
		}
		d.unknown(p, path, key, v.Type())
	})
}

// unknown tells about a key that has no meaning here.
func (d *decoder) unknown(p Pos, path, key string, t reflect.Type) {
	at := join(path, key)
	if why, ok := laterKey(at); ok {
		d.failAt(p, at, "remove it for now", "is not in this version (%s)", why)
		return
	}
	known := keysOf(t)
	if fix, ok := wrongWord(key, known); ok {
		d.failAt(p, at, fix, "unknown key")
		return
	}
	if near, ok := nearest(key, known); ok {
		d.mark(join(path, strings.TrimSuffix(near, "_file"))) // not missing, misspelt
		d.failAt(p, at, fmt.Sprintf("did you mean %q?", near), "unknown key")
		return
	}
	d.failAt(p, at, "the keys here are "+strings.Join(known, ", "), "unknown key")
}

// value decodes whatever a field holds.
func (d *decoder) value(v reflect.Value, t tag, n *yaml.Node, path string, depth int) {
	n, ok := d.enter(n, path, depth)
	if !ok {
		return
	}
	switch {
	case v.Type() == floorType:
		d.floor(v, n, path)
	case v.Type() == secretType:
		if s, ok := d.scalar(n, path, true); ok {
			if s == "" {
				d.fail(path, "remove it, or give one", "is empty")
				return
			}
			v.Set(reflect.ValueOf(NewSecret(s)))
			d.inline = append(d.inline, path)
		}
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.block(v.Elem(), n, path, depth)
	case v.Kind() == reflect.Struct:
		d.block(v, n, path, depth)
	case v.Kind() == reflect.Slice && t.has("named"):
		d.named(v, n, path, depth)
	case v.Kind() == reflect.Slice:
		d.list(v, t, n, path, depth)
	default:
		d.single(v, t, n, path)
	}
}

// named decodes a mapping of names to blocks into a slice that keeps its order.
func (d *decoder) named(v reflect.Value, n *yaml.Node, path string, depth int) {
	like := map[string]string{}
	d.pairs(n, path, func(key string, k, val *yaml.Node) {
		at := join(path, key)
		d.pos[at] = Pos{d.file, k.Line, k.Column}
		if !goodName(key) {
			d.fail(at, "use letters, digits, - and _, at most 64, beginning with a letter or digit", "is not a name")
			return
		}
		if other, ok := like[envName(key)]; ok {
			d.fail(at, "choose names that differ in more than case, - and _", "is too like %q", other)
			return
		}
		like[envName(key)] = key
		item := reflect.New(v.Type().Elem()).Elem()
		item.FieldByName("Name").SetString(key)
		d.block(item, val, at, depth+1)
		v.Set(reflect.Append(v, item))
	})
}

// list decodes a sequence. With the rule "one" a single value may stand for a
// list of one.
func (d *decoder) list(v reflect.Value, t tag, n *yaml.Node, path string, depth int) {
	items := n.Content
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null" && t.has("one"):
		items = []*yaml.Node{n}
	case n.Kind != yaml.SequenceNode:
		fix := ""
		if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
			fix = "put it in [ ]"
		} else if n.Kind == yaml.MappingNode {
			fix = `begin each entry with "- ", or put them in [ ]`
		}
		d.fail(path, fix, "must be a list, but is %s", kindOf(n))
		return
	}
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.pos[at] = Pos{d.file, item.Line, item.Column}
		if d.visits >= maxVisits {
			return
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(e, t, item, at, depth+1)
		// A wrong entry keeps its place, so that key paths count as the file does.
		v.Set(reflect.Append(v, e))
	}
}

// single decodes one scalar into a string, bool, int or duration.
func (d *decoder) single(v reflect.Value, t tag, n *yaml.Node, path string) {
	if v.Kind() == reflect.Bool {
		var b bool
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(&b) != nil {
			d.fail(path, "", "must be true or false, but is %s", kindOf(n))
			return
		}
		v.SetBool(b)
		return
	}
	s, ok := d.scalar(n, path, false)
	if !ok {
		return
	}
	d.set(v, t, s, path)
}

// set gives v the value written as s, from the file, the environment or a flag.
func (d *decoder) set(v reflect.Value, t tag, s, path string) {
	switch {
	case v.Type() == durationType:
		x, err := parseDuration(s)
		if err != nil {
			d.fail(path, err.fix, "%s", err.what)
			return
		}
		low, _ := parseDuration(t["min"])
		high, _ := parseDuration(t["max"])
		if x < low || x > high {
			d.fail(path, t.limitFix(), "%s is not between %s and %s", s, t["min"], t["max"])
			return
		}
		v.SetInt(int64(x))
	case v.Kind() == reflect.Int:
		var x, low, high int
		if t.has("percent") {
			whole, ok := strings.CutSuffix(s, "%")
			if !ok {
				d.fail(path, "write "+percent(s), "%s has no %%", quote(s))
				return
			}
			s = strings.TrimSpace(whole)
		}
		if _, err := fmt.Sscanf(s+"\n", "%d\n", &x); err != nil {
			d.fail(path, "", "must be a whole number, but is %s", quote(s))
			return
		}
		_, _ = fmt.Sscan(t["min"], &low)
		_, _ = fmt.Sscan(t["max"], &high)
		if x < low || x > high {
			unit := map[bool]string{true: "%"}[t.has("percent")]
			d.fail(path, t.limitFix(), "%d%s is not between %d%[2]s and %[4]d%[2]s", x, unit, low, high)
			return
		}
		v.SetInt(int64(x))
	default:
		s, err := d.checkText(t, s)
		if err != nil {
			d.fail(path, err.fix, "%s", err.what)
			return
		}
		v.SetString(s)
	}
}

// percent is what somebody may have meant who wrote a share without its sign.
func percent(s string) string {
	x, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || x <= 0 || x > 100:
		return "20%"
	case x <= 1 && strings.Contains(s, "."):
		x *= 100
	}
	return strconv.Itoa(int(math.Round(x))) + "%"
}

// scalar returns a scalar as it is written. Digits stand for themselves, so that
// a password of digits needs no quotes.
func (d *decoder) scalar(n *yaml.Node, path string, secret bool) (string, bool) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		fix := "remove it, or give one"
		if strings.HasPrefix(n.LineComment, "#") || strings.HasSuffix(path, ".channel") {
			fix = `put quotes around a value with #, as in "#dev": # begins a comment`
		}
		d.fail(path, fix, "is empty")
	case n.Kind != yaml.ScalarNode:
		d.fail(path, "", "must be a single value, but is %s", kindOf(n))
	case slices.Contains([]string{"!!str", "!!int", "!!float", "!!timestamp", "!!bool"}, n.Tag):
		return n.Value, true
	default:
		d.fail(path, "put quotes around a value that begins with !", "has a YAML tag")
	}
	return "", false
}

// floor decodes one rung, or {in: rung, out: rung}.
func (d *decoder) floor(v reflect.Value, n *yaml.Node, path string) {
	f := defaultFloor
	rung := func(n *yaml.Node, at string, into ...*policy.Rung) {
		s, ok := d.scalar(n, at, false)
		if !ok {
			return
		}
		r, err := policy.ParseRung(s)
		if err != nil {
			fix := "use one of clear, sealed, signed, verified"
			if near, ok := nearest(s, []string{"clear", "sealed", "signed", "verified"}); ok {
				fix = fmt.Sprintf("did you mean %q?", near)
			}
			d.fail(at, fix, "%s is not a rung", quote(s))
			return
		}
		for _, p := range into {
			*p = r
		}
	}
	if n.Kind == yaml.ScalarNode {
		rung(n, path, &f.In, &f.Out)
	} else {
		d.pairs(n, path, func(key string, k, val *yaml.Node) {
			at := join(path, key)
			d.pos[at] = Pos{d.file, k.Line, k.Column}
			val, ok := d.enter(val, at, 0)
			switch {
			case !ok:
			case key == "in":
				rung(val, at, &f.In)
			case key == "out":
				rung(val, at, &f.Out)
			default:
				d.fail(at, "the keys here are in, out", "unknown key")
			}
		})
	}
	v.Set(reflect.ValueOf(f))
}

// kindOf says for people what a node is.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	case yaml.ScalarNode:
		switch n.Tag {
		case "!!null":
			return "empty"
		case "!!bool":
			return "true or false"
		case "!!int", "!!float":
			return "a number"
		}
	}
	return "text"
}
