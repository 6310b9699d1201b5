package element

import "errors"

// Scope resolves the prefixes that are declared outside the element that is
// parsed, as the stream header does.
type Scope struct {
	Default string   // the default namespace, e.g. "jabber:client"
	Prefix  []string // prefix, namespace, prefix, namespace …
}

// Parse parses one complete element: nothing may stand before or behind it.
func Parse(b []byte, outer Scope, l Limits) (*Element, error) { return nil, errors.ErrUnsupported }
