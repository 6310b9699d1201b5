// Package form is data forms (XEP-0004): read, filled in, sent back. A form that is read
// is whole, or an error: a field that is left out would be taken for one that is not
// there.
package form

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"drawbridge/xmpp/element"
)

// Bounds of a form that is read.
const (
	MaxFields = 256
	MaxValues = 256     // of one field, and options
	MaxBytes  = 8 << 10 // of one value
)

// NS is the namespace of data forms.
const NS = "jabber:x:data"

const nsMedia = "urn:xmpp:media-element" // XEP-0221

// Err is wrapped by every error of Parse.
var Err = errors.New("xmpp: not a whole form")

// Form is a data form, as it was read.
type Form struct {
	Kind         string // FORM_TYPE
	Title        string
	Instructions string
	Fields       []Field
}

// Field is one field; a boolean has one value, "0" or "1".
type Field struct {
	Name, Type string
	Label      string // for people; "" if it has none
	Required   bool
	Values     []string
	Options    []Option // to choose from
	Media      []string // URIs of pictures or sounds (XEP-0221), "cid:" those that come with the form
}

// Option is one of what can be chosen.
type Option struct{ Label, Value string }

// Parse reads a form that is to be filled in.
func Parse(x *element.Element) (*Form, error) {
	switch {
	case x == nil:
		return nil, fmt.Errorf("%w: there is none", Err)
	case x.Get("type") != "form":
		return nil, fmt.Errorf("%w: it is not to be filled in", Err)
	}
	return parse(x)
}

// ParseResult reads a form that answers, as of a command that is done: of type "result",
// or "form", as Prosody 0.12 writes it.
func ParseResult(x *element.Element) (*Form, error) {
	if x == nil || x.Get("type") != "result" && x.Get("type") != "form" {
		return nil, fmt.Errorf("%w: it is no result", Err)
	}
	return parse(x)
}

func parse(x *element.Element) (*Form, error) {
	f := &Form{}
	for _, c := range x.Children {
		switch {
		case c.Is(NS, "title"):
			f.Title = clip(c.Text)
		case c.Is(NS, "instructions"):
			f.Instructions = strings.TrimPrefix(clip(f.Instructions+"\n"+c.Text), "\n")
		}
		if !c.Is(NS, "field") || c.Get("type") == "fixed" || c.Get("var") == "" {
			continue
		}
		field, err := parseField(c)
		switch {
		case err != nil:
			return nil, err
		case len(f.Fields) == MaxFields:
			return nil, fmt.Errorf("%w: more than %d fields", Err, MaxFields)
		case f.Field(field.Name) != nil:
			return nil, fmt.Errorf("%w: a field stands twice in it", Err)
		}
		f.Fields = append(f.Fields, field)
	}
	if t := f.Field("FORM_TYPE"); t != nil && len(t.Values) == 1 {
		f.Kind = t.Values[0]
	}
	return f, nil
}

func parseField(c *element.Element) (Field, error) {
	out := Field{Name: c.Get("var"), Type: c.Get("type"), Label: clip(c.Get("label"))}
	for _, v := range c.Children {
		switch {
		case v.Is(NS, "required"):
			out.Required = true
		case v.Is(NS, "option") && len(out.Options) < MaxValues:
			out.Options = append(out.Options, Option{clip(v.Get("label")), optionValue(v)})
		case v.Is(nsMedia, "media"):
			out.Media = append(out.Media, mediaOf(v)...)
		}
		if !v.Is(NS, "value") {
			continue
		}
		if len(out.Values) == MaxValues || len(v.Text) > MaxBytes {
			return out, fmt.Errorf("%w: a field is too large", Err)
		}
		out.Values = append(out.Values, v.Text)
	}
	if len(out.Name) > MaxBytes {
		return out, fmt.Errorf("%w: a field is too large", Err)
	}
	if out.Type == "boolean" { // Prosody writes none for false
		out.Values = []string{boolValue(out.Value())}
	}
	return out, nil
}

func mediaOf(media *element.Element) (uris []string) {
	for _, u := range media.Children {
		if u.Is(nsMedia, "uri") && len(uris) < MaxValues {
			uris = append(uris, clip(strings.TrimSpace(u.Text)))
		}
	}
	return uris
}

func optionValue(o *element.Element) string {
	if v := o.Child(NS, "value"); v != nil {
		return clip(v.Text)
	}
	return ""
}

// boolValue writes a boolean one way (XEP-0004 §3.3 has two, and a default).
func boolValue(s string) string {
	if s == "1" || s == "true" {
		return "1"
	}
	return "0"
}

// Field returns the field of that name, or nil.
func (f *Form) Field(name string) *Field {
	if i := slices.IndexFunc(f.Fields, func(x Field) bool { return x.Name == name }); i >= 0 {
		return &f.Fields[i]
	}
	return nil
}

// Value returns all values in one string, a line each; "" for nil.
func (x *Field) Value() string {
	if x == nil {
		return ""
	}
	return strings.Join(x.Values, "\n")
}

// Set sets the values from such a string, and reports whether that changes anything.
func (x *Field) Set(value string) bool {
	values := []string{value}
	switch x.Type {
	case "boolean":
		values = []string{boolValue(value)}
	case "list-multi", "jid-multi", "text-multi":
		values = strings.Split(value, "\n")
		if value == "" {
			values = nil
		}
	}
	if slices.Equal(values, x.Values) || value == "" && len(x.Values) == 0 {
		return false
	}
	x.Values = values
	return true
}

// Submit is the whole form, filled in: who reads it may take a field that is missing
// for one that is to be emptied.
func (f *Form) Submit() *element.Element {
	x := element.New(NS, "x", "type", "submit")
	for _, field := range f.Fields {
		e := element.New(NS, "field", "var", field.Name, "type", field.Type)
		for _, v := range field.Values {
			e.Add(element.New(NS, "value").SetText(v))
		}
		if len(field.Values) == 0 && !strings.HasSuffix(field.Type, "-multi") {
			e.Add(element.New(NS, "value"))
		}
		x.Add(e)
	}
	return x
}

// clip bounds words for people; what is more is not shown.
func clip(s string) string {
	if len(s) <= MaxBytes {
		return s
	}
	return strings.ToValidUTF8(s[:MaxBytes], "")
}
