// Package register makes XMPP accounts: in-band, before the login (XEP-0077), with data
// forms and CAPTCHAs (XEP-0158) and the tokens of invitations (XEP-0445); and by the
// ad-hoc commands of a server's admin (XEP-0050, XEP-0133) and of invitations
// (XEP-0401). It does no I/O: who calls brings the stream.
package register

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"drawbridge/xmpp/element"
	"drawbridge/xmpp/form"
)

const (
	nsClient   = "jabber:client"
	nsRegister = "jabber:iq:register"
	nsOOB      = "jabber:x:oob"
	nsBoB      = "urn:xmpp:bob"
	nsPreauth  = "urn:xmpp:pars:0"
	nsStanzas  = "urn:ietf:params:xml:ns:xmpp-stanzas"
	// KindCaptcha is the FORM_TYPE of a form with a CAPTCHA.
	KindCaptcha = "urn:xmpp:captcha"

	// FeatureNS and FeatureName are the stream feature of in-band registration.
	FeatureNS, FeatureName = "http://jabber.org/features/iq-register", "register"
)

// What a server can say no by. Each is wrapped in a *Refusal.
var (
	ErrNoRegistration = errors.New("the server makes no accounts this way")
	ErrTaken          = errors.New("the name is taken")
	ErrWait           = errors.New("the server asks to wait before the next account")
	ErrNotAllowed     = errors.New("the server does not allow it")
	ErrWrongAnswer    = errors.New("the server does not accept what was filled in")
	ErrInvitation     = errors.New("the invitation is used up, expired or of another server")
)

// Refusal is a server's no.
type Refusal struct {
	Err       error // one of those above; nil: something else
	Condition string
	Text      string // the server's words, cleaned; may be ""
}

func (r *Refusal) Error() string {
	s := "the server says no"
	if r.Err != nil {
		s = r.Err.Error()
	}
	if s += " (" + r.Condition; r.Text != "" {
		s += ": " + r.Text
	}
	return s + ")"
}

// Unwrap returns what the no means.
func (r *Refusal) Unwrap() error { return r.Err }

// RefusalOf reads the <error/> of an IQ (RFC 6120 §8.3); nil for a result.
func RefusalOf(iq *element.Element) *Refusal {
	if iq.Get("type") != "error" {
		return nil
	}
	r := &Refusal{Condition: "undefined-condition"}
	e := iq.Child(nsClient, "error")
	if e == nil {
		return r
	}
	for _, c := range e.Children {
		switch {
		case c.Is(nsStanzas, "text"):
			r.Text = clean(c.Text)
		case c.Space == nsStanzas:
			r.Condition = c.Local
		}
	}
	switch r.Condition {
	case "conflict":
		r.Err = ErrTaken
	case "resource-constraint":
		r.Err = ErrWait
	case "policy-violation":
		if r.Err = ErrNotAllowed; e.Get("type") == "wait" {
			r.Err = ErrWait
		}
	case "not-acceptable", "bad-request":
		r.Err = ErrWrongAnswer
	case "not-allowed", "forbidden", "not-authorized", "registration-required":
		r.Err = ErrNotAllowed
	case "service-unavailable", "feature-not-implemented", "item-not-found":
		r.Err = ErrNoRegistration
	}
	return r
}

// clean keeps a server's words to one short line without control characters.
func clean(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// Form is what a server wants to know before it makes an account.
type Form struct {
	Instructions string
	// URL is where accounts are made instead, or also; "" if here.
	URL string
	// Fields are those to be filled in, beside user name and password.
	Fields []*form.Field
	// Captcha says that a question in it is to tell people from programs.
	Captcha bool
	// Files are what came with the form, by "cid:" URI: pictures and sounds.
	Files map[string]File

	data   *form.Form // nil: only the fields of old, below
	legacy []string
}

// File is something that came with a form (XEP-0231).
type File struct {
	Type string
	Data string // base64, as it came
}

// maxFile bounds a File, in characters of base64; maxFiles their number.
const (
	maxFile  = 256 << 10
	maxFiles = 8
)

// Request asks for the form.
func Request(id string) *element.Element {
	return element.New(nsClient, "iq", "type", "get", "id", id).Add(element.New(nsRegister, "query"))
}

// ReadForm reads the answer to Request. Errors: a *Refusal, or one that wraps form.Err.
func ReadForm(iq *element.Element) (*Form, error) {
	if r := RefusalOf(iq); r != nil {
		if errors.Is(r, ErrNotAllowed) || r.Err == nil {
			r.Err = ErrNoRegistration
		}
		return nil, r
	}
	q := iq.Child(nsRegister, "query")
	if q == nil {
		return nil, fmt.Errorf("%w: the answer holds none", form.Err)
	}
	f := &Form{Files: map[string]File{}}
	if i := q.Child(nsRegister, "instructions"); i != nil {
		f.Instructions = clean(i.Text)
	}
	if x := q.Child(nsOOB, "x"); x != nil {
		if u := x.Child(nsOOB, "url"); u != nil {
			f.URL = webURL(u.Text)
		}
	}
	for _, c := range slices.Concat(iq.Children, q.Children) {
		if c.Is(nsBoB, "data") && len(c.Text) <= maxFile && len(f.Files) < maxFiles {
			f.Files["cid:"+c.Get("cid")] = File{Type: clean(c.Get("type")), Data: strings.TrimSpace(c.Text)}
		}
	}
	if x := q.Child(form.NS, "x"); x != nil {
		return f, f.readData(x)
	}
	for _, c := range q.Children {
		if c.Space == nsRegister && c.Local != "instructions" && c.Local != "registered" && c.Local != "key" && len(f.legacy) < form.MaxFields {
			f.legacy = append(f.legacy, c.Local)
			if c.Local != "username" && c.Local != "password" {
				f.Fields = append(f.Fields, &form.Field{Name: c.Local, Type: "text-single", Required: true})
			}
		}
	}
	if len(f.legacy) == 0 && f.URL == "" {
		return nil, fmt.Errorf("%w: it has no fields", form.Err)
	}
	return f, nil
}

// readData reads the data form.
func (f *Form) readData(x *element.Element) error {
	d, err := form.Parse(x)
	if err != nil {
		return err
	}
	f.data, f.Captcha = d, d.Kind == KindCaptcha
	if d.Instructions != "" {
		f.Instructions = clean(d.Instructions)
	}
	for i := range d.Fields {
		field := &d.Fields[i]
		switch {
		case field.Type == "hidden", field.Name == "username", field.Name == "password", field.Name == "FORM_TYPE":
			if strings.HasPrefix(field.Name, "captcha-fallback-url") {
				f.URL = webURL(field.Value())
			}
		case strings.HasPrefix(field.Name, "captcha-fallback"):
			if f.URL == "" {
				f.URL = webURL(field.Value())
			}
		default:
			f.Fields = append(f.Fields, field)
		}
	}
	return nil
}

// webURL returns s if it is the address of a web page, else "".
func webURL(s string) string {
	s = strings.TrimSpace(s)
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || !unicode.IsPrint(r) }) || len(s) > 2048 {
		return ""
	}
	return s
}

// Missing are the fields that must be filled in and are not.
func (f *Form) Missing() (out []*form.Field) {
	for _, field := range f.Fields {
		if field.Required && field.Value() == "" {
			out = append(out, field)
		}
	}
	return out
}

// Fill sets the fields that answers name; one of them that the form does not have is an
// error.
func (f *Form) Fill(answers map[string]string) error {
	for name, value := range answers {
		i := slices.IndexFunc(f.Fields, func(x *form.Field) bool { return x.Name == name })
		if i < 0 {
			return fmt.Errorf("the server asks for no field %q", name)
		}
		f.Fields[i].Set(value)
	}
	return nil
}

// Submit is the form filled in, to be sent on the same stream.
func (f *Form) Submit(id, user, password string) *element.Element {
	q := element.New(nsRegister, "query")
	own := map[string]string{"username": user, "password": password}
	if f.data != nil {
		for name, value := range own {
			if field := f.data.Field(name); field != nil {
				field.Set(value)
			}
		}
		q.Add(f.data.Submit())
	} else {
		for _, name := range f.legacy {
			value, ok := own[name]
			if i := slices.IndexFunc(f.Fields, func(x *form.Field) bool { return x.Name == name }); !ok && i >= 0 {
				value = f.Fields[i].Value()
			}
			q.Add(element.New(nsRegister, name).SetText(value))
		}
	}
	return element.New(nsClient, "iq", "type", "set", "id", id).Add(q)
}

// ReadDone reads the answer to Submit: nil, or a *Refusal.
func ReadDone(iq *element.Element) error {
	if r := RefusalOf(iq); r != nil {
		return r
	}
	return nil
}

// Preauth hands a server the token of an invitation, before Request (XEP-0445 §3).
func Preauth(id, token, domain string) *element.Element {
	return element.New(nsClient, "iq", "type", "set", "id", id, "to", domain).Add(element.New(nsPreauth, "preauth", "token", token))
}

// ReadPreauth reads the answer to Preauth: nil, or a *Refusal with ErrInvitation, or
// with ErrNoRegistration where the server knows no invitations.
func ReadPreauth(iq *element.Element) error {
	r := RefusalOf(iq)
	switch {
	case r == nil:
		return nil
	case !errors.Is(r, ErrNoRegistration) || r.Condition == "item-not-found":
		r.Err = ErrInvitation
	}
	return r
}
