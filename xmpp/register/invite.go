package register

import (
	"errors"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// Invitation is a link by which somebody makes an account of their own, or becomes a
// contact (XEP-0401).
type Invitation struct {
	URI  string // xmpp:DOMAIN?register;preauth=TOKEN, or xmpp:JID?roster;preauth=TOKEN;ibr=y
	Page string // a web page that explains it; "" where the server has none
	// Until is when it ends; zero: the server does not say.
	Until time.Time
}

// Link is what to give to people: the page, else the URI.
func (i Invitation) Link() string {
	if i.Page != "" {
		return i.Page
	}
	return i.URI
}

var errURI = errors.New("not the URI of an invitation: xmpp:DOMAIN?register;preauth=TOKEN, or xmpp:JID?roster;preauth=TOKEN;ibr=y")

// Token is what the URI of an invitation is made of.
type Token struct {
	Domain string // of the server that gave it
	User   string // the user name it is for, of a registration; "" is any
	Value  string
	// Account says that an account can be made by it, not only a contact.
	Account bool
}

// ParseURI reads the URI of an invitation.
func ParseURI(uri string) (Token, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(uri), "xmpp:")
	address, query, ok2 := strings.Cut(rest, "?")
	if !ok || !ok2 || len(uri) > 2048 {
		return Token{}, errURI
	}
	address, err := url.PathUnescape(address)
	if err != nil {
		return Token{}, errURI
	}
	user, domain, found := strings.Cut(address, "@")
	if !found {
		user, domain = "", address
	}
	action, params, _ := strings.Cut(query, ";")
	t := Token{Domain: domain, Account: action == "register"}
	if action == "register" {
		t.User = user
	}
	for p := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(p, "=")
		value, err := url.PathUnescape(value)
		if err != nil {
			return Token{}, errURI
		}
		switch key {
		case "preauth":
			t.Value = value
		case "ibr":
			t.Account = t.Account || value == "y"
		}
	}
	odd := func(r rune) bool { return r <= ' ' || !unicode.IsPrint(r) }
	if t.Value == "" || domain == "" || action != "register" && action != "roster" ||
		strings.ContainsFunc(t.Value+user+domain, odd) || strings.ContainsAny(domain, "@/") {
		return Token{}, errURI
	}
	return t, nil
}
