package config

import (
	"fmt"
	"reflect"
	"strings"

	"drawbridge/policy"
)

// Diff tells in lines for people what changed from old to new, in the order of
// new: "bridges.dev: + person carol", "log.level: info → debug". Of a secret it
// tells only that it changed. No lines: nothing changed but perhaps the order of
// blocks.
func Diff(old, new *Config) []string {
	var d differ
	d.block(reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem(), "", "")
	return d.lines
}

type differ struct{ lines []string }

func (d *differ) add(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// block compares two structs. owner is the path of the nearest named block.
func (d *differ) block(a, b reflect.Value, path, owner string) {
	for _, f := range fieldsOf(a.Type()) {
		d.value(a.Field(f.index), b.Field(f.index), f.tag, join(path, f.key), owner)
	}
}

func (d *differ) value(a, b reflect.Value, t tag, path, owner string) {
	switch {
	case a.Type() == secretType:
		if s := b.Interface().(Secret); a.Interface().(Secret).value != s.value {
			d.add("%s: changed", path)
		}
	case a.Type() == floorType:
		if a.Interface() != b.Interface() {
			d.add("%s: %s → %s", path, shown(a), shown(b))
		}
	case a.Kind() == reflect.Pointer:
		switch {
		case a.IsNil() && !b.IsNil():
			d.add("+ %s", path)
		case !a.IsNil() && b.IsNil():
			d.add("- %s", path)
		case !a.IsNil():
			d.block(a.Elem(), b.Elem(), path, owner)
		}
	case a.Kind() == reflect.Struct:
		d.block(a, b, path, owner)
	case a.Kind() == reflect.Slice && t.has("named"):
		d.named(a, b, path)
	case a.Kind() == reflect.Slice:
		d.list(a, b, t, path, owner)
	case !a.Equal(b):
		d.add("%s: %s → %s", path, shown(a), shown(b))
	}
}

func (d *differ) named(a, b reflect.Value, path string) {
	name := func(v reflect.Value) string { return v.FieldByName("Name").String() }
	before, after := byName(a, name), byName(b, name)
	for i := range b.Len() {
		n := name(b.Index(i))
		if was, ok := before[n]; ok {
			d.block(was, b.Index(i), join(path, n), join(path, n))
		} else {
			d.add("+ %s", join(path, n))
		}
	}
	for i := range a.Len() {
		if n := name(a.Index(i)); !after[n].IsValid() {
			d.add("- %s", join(path, n))
		}
	}
}

// list compares lists by what their entries are, whatever their order; where
// only the order changed, it says that.
func (d *differ) list(a, b reflect.Value, t tag, path, owner string) {
	where, what := path, ""
	if t.has("noun") {
		where, what = owner, t["noun"]+" "
		if owner == "" {
			where = path
		}
	}
	before, after := byName(a, identity), byName(b, identity)
	changed := false
	for i := range b.Len() {
		id := identity(b.Index(i))
		was, ok := before[id]
		switch {
		case !ok:
			changed = true
			d.add("%s: + %s%s", where, what, id)
		case was.Kind() == reflect.Struct:
			d.block(was, b.Index(i), fmt.Sprintf("%s[%s]", path, id), owner)
		}
	}
	for i := range a.Len() {
		if id := identity(a.Index(i)); !after[id].IsValid() {
			changed = true
			d.add("%s: - %s%s", where, what, id)
		}
	}
	if order(a) != order(b) && !changed && a.Len() == b.Len() {
		d.add("%s: %s → %s", path, order(a), order(b))
	}
}

func byName(list reflect.Value, name func(reflect.Value) string) map[string]reflect.Value {
	out := make(map[string]reflect.Value, list.Len())
	for i := range list.Len() {
		out[name(list.Index(i))] = list.Index(i)
	}
	return out
}

// identity is what an entry of a list is called.
func identity(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case Channel:
		return x.Channel + " on " + x.Network
	case MUC:
		return x.Room
	case Rule:
		return x.ID
	case Who:
		return fmt.Sprint(x)
	}
	return v.String()
}

func order(list reflect.Value) string {
	if list.Type().Elem().Kind() != reflect.String {
		return ""
	}
	var out []string
	for i := range list.Len() {
		out = append(out, list.Index(i).String())
	}
	return strings.Join(out, ", ")
}

func shown(v reflect.Value) string {
	if f, ok := v.Interface().(policy.Floor); ok {
		return fmt.Sprintf("{in: %s, out: %s}", f.In, f.Out)
	}
	if s := fmt.Sprint(v.Interface()); s != "" {
		return s
	}
	return "(none)"
}
