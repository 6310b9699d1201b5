package register

import (
	"errors"
	"slices"

	"drawbridge/xmpp/element"
	"drawbridge/xmpp/form"
)

// nsToken and nsTokenOld are the stream feature of servers that take the tokens of
// invitations (XEP-0445 §3), now and in its drafts.
const (
	nsToken    = "urn:xmpp:ibr-token:0"
	nsTokenOld = "urn:xmpp:invite"
)

// Early is a stream before its login.
type Early interface {
	// Offers reports whether the server lists a feature.
	Offers(space, local string) bool
	// IQ asks the server, and returns its answer: a result or an error.
	IQ(iq *element.Element) (*element.Element, error)
}

// Offer is what a server does for who has no account yet.
type Offer struct {
	// Open says that whoever wants makes an account by their client (XEP-0077).
	Open bool
	// Page is the web page where accounts are made instead; "" is none.
	Page string
}

// Probe looks at what a server offers, and makes no account. Open is said only where it
// is all but sure: the server lists in-band registration, and gives its form. One that
// also takes the tokens of invitations mostly refuses who has none, at the very end
// (Prosody's registration_invite_only), and does not count as open. What the server holds
// against an address or a number of accounts does not show before an account is made.
func Probe(e Early) (Offer, error) {
	if !e.Offers(FeatureNS, FeatureName) || e.Offers(nsToken, FeatureName) || e.Offers(nsTokenOld, FeatureName) {
		return Offer{}, nil
	}
	answer, err := e.IQ(Request("offer"))
	if err != nil {
		return Offer{}, err
	}
	f, err := ReadForm(answer)
	var no *Refusal
	switch {
	case errors.As(err, &no), errors.Is(err, form.Err):
		return Offer{}, nil
	case err != nil:
		return Offer{}, err
	case f.asks("username") && f.asks("password"):
		return Offer{Open: true}, nil
	}
	return Offer{Page: f.URL}, nil
}

// asks reports whether the form has a field.
func (f *Form) asks(name string) bool {
	if f.data != nil {
		return f.data.Field(name) != nil
	}
	return slices.Contains(f.legacy, name)
}
