package xmpp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"drawbridge/xmpp/element"
)

// The bounds of a form that is read.
const (
	formFields = 256
	formValues = 256     // of one field
	formBytes  = 8 << 10 // of one value
)

var errForm = errors.New("xmpp: not a whole form")

// form is a data form (XEP-0004), as it was read.
type form struct {
	kind   string // FORM_TYPE
	fields []formField
}

// formField is one field; a boolean has one value, "0" or "1".
type formField struct {
	name, typ string
	values    []string
}

// parseForm reads a form that is to be filled in. It is whole, or an error: a field
// that is left out would be taken for one that the room does not have. Errors wrap
// errForm.
func parseForm(x *element.Element) (*form, error) {
	switch {
	case x == nil:
		return nil, fmt.Errorf("%w: there is none", errForm)
	case x.Get("type") != "form":
		return nil, fmt.Errorf("%w: it is not to be filled in", errForm)
	}
	f := &form{}
	for _, c := range x.Children {
		if !c.Is(nsForm, "field") || c.Get("type") == "fixed" || c.Get("var") == "" {
			continue
		}
		field, err := parseField(c)
		switch {
		case err != nil:
			return nil, err
		case len(f.fields) == formFields:
			return nil, fmt.Errorf("%w: more than %d fields", errForm, formFields)
		case f.field(field.name) != nil:
			return nil, fmt.Errorf("%w: a field stands twice in it", errForm)
		}
		f.fields = append(f.fields, field)
	}
	if t := f.field("FORM_TYPE"); t != nil && len(t.values) == 1 {
		f.kind = t.values[0]
	}
	return f, nil
}

func parseField(c *element.Element) (formField, error) {
	out := formField{name: c.Get("var"), typ: c.Get("type")}
	for _, v := range c.Children {
		if !v.Is(nsForm, "value") {
			continue
		}
		if len(out.values) == formValues || len(v.Text) > formBytes {
			return out, fmt.Errorf("%w: a field is too large", errForm)
		}
		out.values = append(out.values, v.Text)
	}
	if len(out.name) > formBytes {
		return out, fmt.Errorf("%w: a field is too large", errForm)
	}
	if out.typ == "boolean" { // Prosody writes none for false
		out.values = []string{boolValue(out.value())}
	}
	return out, nil
}

// boolValue writes a boolean one way (XEP-0004 §3.3 has two, and a default).
func boolValue(s string) string {
	if s == "1" || s == "true" {
		return "1"
	}
	return "0"
}

func (f *form) field(name string) *formField {
	if i := slices.IndexFunc(f.fields, func(x formField) bool { return x.name == name }); i >= 0 {
		return &f.fields[i]
	}
	return nil
}

// value returns all values in one string, a line each.
func (x *formField) value() string {
	if x == nil {
		return ""
	}
	return strings.Join(x.values, "\n")
}

// set sets the values from such a string, and reports whether that changes anything.
func (x *formField) set(value string) bool {
	values := []string{value}
	switch x.typ {
	case "boolean":
		values = []string{boolValue(value)}
	case "list-multi", "jid-multi", "text-multi":
		values = strings.Split(value, "\n")
		if value == "" {
			values = nil
		}
	}
	if slices.Equal(values, x.values) || value == "" && len(x.values) == 0 {
		return false
	}
	x.values = values
	return true
}

// submit is the whole form, filled in: a room may take a field that is missing for
// one that is to be emptied.
func (f *form) submit() *element.Element {
	x := element.New(nsForm, "x", "type", "submit")
	for _, field := range f.fields {
		e := element.New(nsForm, "field", "var", field.name, "type", field.typ)
		for _, v := range field.values {
			e.Add(element.New(nsForm, "value").SetText(v))
		}
		if len(field.values) == 0 && !strings.HasSuffix(field.typ, "-multi") {
			e.Add(element.New(nsForm, "value"))
		}
		x.Add(e)
	}
	return x
}
