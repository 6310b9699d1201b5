// Package element is the XML of stanzas: a small tree, a bounded strict parser
// and a writer that escapes everything (RFC 6120 §11). It knows no XMPP.
package element

// Element is one XML element. Character data of mixed content is kept joined in
// Text; its place among the children is not (no stanza we read depends on it).
type Element struct {
	Space    string // namespace, e.g. "jabber:client"
	Local    string // local name, e.g. "message"
	Attr     []Attr
	Text     string // unescaped UTF-8
	Children []*Element
}

// Attr is one attribute. Name is its local name, or "xml:lang" for that one;
// other namespaced attributes are dropped by the parser.
type Attr struct{ Name, Value string }

// New returns an element with the given name and attributes, attrs being
// name-value pairs. Pairs with an empty value are left out.
func New(space, local string, attrs ...string) *Element {
	e := &Element{Space: space, Local: local}
	if len(attrs) > 0 {
		e.Attr = make([]Attr, 0, len(attrs)/2)
	}
	for i := 0; i+1 < len(attrs); i += 2 {
		if attrs[i+1] != "" {
			e.Attr = append(e.Attr, Attr{attrs[i], attrs[i+1]})
		}
	}
	return e
}

// Add appends children and returns e.
func (e *Element) Add(children ...*Element) *Element {
	for _, c := range children {
		if c != nil {
			e.Children = append(e.Children, c)
		}
	}
	return e
}

// SetText sets the character data and returns e.
func (e *Element) SetText(s string) *Element { e.Text = s; return e }

// Set sets an attribute and returns e.
func (e *Element) Set(attr, value string) *Element {
	for i := range e.Attr {
		if e.Attr[i].Name == attr {
			e.Attr[i].Value = value
			return e
		}
	}
	e.Attr = append(e.Attr, Attr{attr, value})
	return e
}

// Get returns the value of an attribute, or "". e may be nil.
func (e *Element) Get(attr string) string {
	if e == nil {
		return ""
	}
	for _, a := range e.Attr {
		if a.Name == attr {
			return a.Value
		}
	}
	return ""
}

// Is reports whether e has this name. e may be nil.
func (e *Element) Is(space, local string) bool {
	return e != nil && e.Space == space && e.Local == local
}

// Child returns the first child with this name, or nil. e may be nil.
func (e *Element) Child(space, local string) *Element {
	if e == nil {
		return nil
	}
	for _, c := range e.Children {
		if c.Space == space && c.Local == local {
			return c
		}
	}
	return nil
}
