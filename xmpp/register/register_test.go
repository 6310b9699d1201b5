package register

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"drawbridge/xmpp/element"
	"drawbridge/xmpp/form"
)

func parse(t testing.TB, xml string) *element.Element {
	t.Helper()
	e, err := element.Parse([]byte(xml), element.Scope{Default: nsClient}, element.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func xml(e *element.Element) string { return string(element.AppendXML(nil, e, nsClient)) }

const (
	legacyForm = `<iq type='result' id='reg1'><query xmlns='jabber:iq:register'><instructions>Choose.</instructions><username/><password/><email/></query></iq>`
	dataForm   = `<iq type='result' id='reg1'><query xmlns='jabber:iq:register'><username/><password/><x xmlns='jabber:x:data' type='form'><instructions>Choose &#10; well.</instructions>` +
		`<field var='FORM_TYPE' type='hidden'><value>jabber:iq:register</value></field><field var='username' type='text-single'><required/></field><field var='password' type='text-private'><required/></field>` +
		`<field var='plan' type='list-single' label='Plan'><required/><option label='Small'><value>s</value></option></field><field var='news' type='boolean'/></x></query></iq>`
	captchaForm = `<iq type='result' id='reg1'><query xmlns='jabber:iq:register'><instructions>See the picture.</instructions><x xmlns='jabber:x:data' type='form'>` +
		`<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:captcha</value></field><field type='fixed'><value>words</value></field>` +
		`<field var='captcha-fallback-url' type='text-single'><value>https://corp.example/captcha/7</value></field>` +
		`<field var='from' type='hidden'><value>corp.example</value></field><field var='challenge' type='hidden'><value>F3A6</value></field><field var='sid' type='hidden'><value>reg1</value></field>` +
		`<field var='username' type='text-single'><required/></field><field var='password' type='text-private'><required/></field>` +
		`<field var='ocr' label='What do you see?'><required/><media xmlns='urn:xmpp:media-element'><uri type='image/png'>cid:sha1+ab@bob.xmpp.org</uri></media></field></x>` +
		`<data xmlns='urn:xmpp:bob' cid='sha1+ab@bob.xmpp.org' type='image/png'>aGVsbG8=</data></query></iq>`
)

func TestForms(t *testing.T) {
	for _, tt := range []struct{ name, in, fields, answer, sent string }{
		{
			"the fields of old", legacyForm, "email!", "email=a@b",
			`<query xmlns='jabber:iq:register'><username>ann</username><password>secret</password><email>a@b</email></query>`,
		},
		{
			"a data form", dataForm, "plan! news", "plan=s",
			`<value>jabber:iq:register</value></field><field var='username' type='text-single'><value>ann</value></field><field var='password' type='text-private'><value>secret</value></field>` +
				`<field var='plan' type='list-single'><value>s</value></field><field var='news' type='boolean'><value>0</value></field></x>`,
		},
		{
			"a CAPTCHA goes back whole", captchaForm, "ocr!", "ocr=hello",
			`<value>urn:xmpp:captcha</value></field><field var='captcha-fallback-url' type='text-single'><value>https://corp.example/captcha/7</value></field><field var='from' type='hidden'><value>corp.example</value></field>` +
				`<field var='challenge' type='hidden'><value>F3A6</value></field><field var='sid' type='hidden'><value>reg1</value></field>`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := ReadForm(parse(t, tt.in))
			if err != nil {
				t.Fatal(err)
			}
			var fields []string
			for _, x := range f.Fields {
				fields = append(fields, x.Name+map[bool]string{true: "!"}[x.Required])
			}
			if got := strings.Join(fields, " "); got != tt.fields {
				t.Errorf("fields %q, want %q", got, tt.fields)
			}
			if len(f.Missing()) == 0 {
				t.Error("nothing is missing before it is filled in")
			}
			name, value, _ := strings.Cut(tt.answer, "=")
			if err := f.Fill(map[string]string{name: value}); err != nil {
				t.Fatal(err)
			}
			if missing := f.Missing(); len(missing) > 0 {
				t.Errorf("%s is missing", missing[0].Name)
			}
			if got := xml(f.Submit("reg2", "ann", "secret")); !strings.Contains(got, tt.sent) {
				t.Errorf("sent\n %s\nwithout\n %s", got, tt.sent)
			}
			if err := f.Fill(map[string]string{"other": "x"}); err == nil {
				t.Error("a field that is not there was filled in")
			}
		})
	}
}

func TestCaptcha(t *testing.T) {
	f, err := ReadForm(parse(t, captchaForm))
	if err != nil {
		t.Fatal(err)
	}
	if !f.Captcha || f.URL != "https://corp.example/captcha/7" || f.Files[f.Fields[0].Media[0]] != (File{"image/png", "aGVsbG8="}) {
		t.Errorf("%+v", f)
	}
}

func TestElsewhere(t *testing.T) {
	for in, want := range map[string]string{
		"https://corp.example/join": "https://corp.example/join",
		"javascript:alert(1)":       "",
		"https://a\x1b[2J":          "",
		"file:///etc/passwd":        "",
	} {
		if got := webURL(in); got != want {
			t.Errorf("webURL(%q) = %q, want %q", in, got, want)
		}
	}
	f, err := ReadForm(parse(t, `<iq type='result'><query xmlns='jabber:iq:register'><x xmlns='jabber:x:oob'><url>https://corp.example/join</url></x></query></iq>`))
	if err != nil || f.URL == "" || len(f.Fields) > 0 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestRefusals(t *testing.T) {
	no := func(typ, condition string) *element.Element {
		return parse(t, fmt.Sprintf("<iq type='error'><error type='%s'><%s xmlns='%s'/><text xmlns='%s'>some\nwords</text></error></iq>", typ, condition, nsStanzas, nsStanzas))
	}
	for _, tt := range []struct {
		typ, condition string
		form, done     error
	}{
		{"cancel", "conflict", ErrTaken, ErrTaken},
		{"wait", "resource-constraint", ErrWait, ErrWait},
		{"wait", "policy-violation", ErrWait, ErrWait},
		{"modify", "policy-violation", ErrNoRegistration, ErrNotAllowed},
		{"modify", "not-acceptable", ErrWrongAnswer, ErrWrongAnswer},
		{"auth", "forbidden", ErrNoRegistration, ErrNotAllowed},
		{"cancel", "not-allowed", ErrNoRegistration, ErrNotAllowed},
		{"cancel", "service-unavailable", ErrNoRegistration, ErrNoRegistration},
	} {
		if _, err := ReadForm(no(tt.typ, tt.condition)); !errors.Is(err, tt.form) {
			t.Errorf("asked for the form: %s is %v, want %v", tt.condition, err, tt.form)
		}
		err := ReadDone(no(tt.typ, tt.condition))
		if !errors.Is(err, tt.done) || !strings.HasSuffix(err.Error(), "("+tt.condition+": some words)") {
			t.Errorf("submitted: %s is %v, want %v", tt.condition, err, tt.done)
		}
	}
	if err := ReadPreauth(no("cancel", "item-not-found")); !errors.Is(err, ErrInvitation) {
		t.Error(err)
	}
	if err := ReadPreauth(no("cancel", "service-unavailable")); !errors.Is(err, ErrNoRegistration) {
		t.Error(err)
	}
}

func TestParseURI(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Token
		bad  bool
	}{
		{in: "xmpp:corp.example?register;preauth=AB-c_1", want: Token{"corp.example", "", "AB-c_1", true}},
		{in: "xmpp:ann@corp.example?register;preauth=x", want: Token{"corp.example", "ann", "x", true}},
		{in: "xmpp:bot@corp.example?roster;preauth=x;ibr=y", want: Token{"corp.example", "", "x", true}},
		{in: "xmpp:bot@corp.example?roster;preauth=x", want: Token{"corp.example", "", "x", false}},
		{in: "xmpp:corp.example?register", bad: true},
		{in: "xmpp:corp.example?message;preauth=x", bad: true},
		{in: "https://corp.example/?preauth=x", bad: true},
		{in: "xmpp:corp.example?register;preauth=%0A", bad: true},
		{in: "xmpp:?register;preauth=x", bad: true},
	} {
		got, err := ParseURI(tt.in)
		if (err != nil) != tt.bad || err == nil && got != tt.want {
			t.Errorf("ParseURI(%q) = %+v, %v", tt.in, got, err)
		}
	}
}

// script is a server that gives one answer after the other, and keeps what it was sent.
type script struct {
	t       *testing.T
	answers []string
	sent    []string
}

func (s *script) AskIQ(_ context.Context, typ, to string, payload *element.Element) (*element.Element, error) {
	s.sent = append(s.sent, typ+" "+to+" "+xml(payload))
	if len(s.answers) == 0 {
		return nil, errors.New("asked too often")
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	iq := parse(s.t, a)
	if r := RefusalOf(iq); r != nil {
		return nil, r
	}
	return iq, nil
}

func command(status, content string) string {
	return "<iq type='result'><command xmlns='http://jabber.org/protocol/commands' sessionid='s1' status='" + status + "'>" + content + "</command></iq>"
}

const (
	addUserForm = `<x xmlns='jabber:x:data' type='form'><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/admin</value></field>` +
		`<field var='accountjid' type='jid-single'><required/></field><field var='password' type='text-private'/><field var='password-verify' type='text-private'/></x>`
	forbidden = `<iq type='error'><error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`
)

func inviteForm(uri string) string {
	return `<x xmlns='jabber:x:data' type='form'><field var='landing-url'/><field var='uri'><value>` + uri + `</value></field><field var='expire'><value>2026-11-29T10:00:00Z</value></field></x>`
}

func TestAddUser(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers []string
		want    error
	}{
		{"made", []string{command("executing", addUserForm), command("completed", "<note type='info'>Account successfully created</note>")}, nil},
		{"made, without a note", []string{command("executing", addUserForm), command("completed", "")}, nil},
		{"there already", []string{command("executing", addUserForm), command("completed", "<note type='error'>User already exists</note>")}, ErrTaken},
		{"no admin", []string{forbidden}, ErrNoCommand},
		{"refused in the end", []string{command("executing", addUserForm), forbidden}, ErrNotAllowed},
		{"canceled", []string{command("canceled", "")}, ErrNotAllowed},
		{"a form without a password", []string{command("executing", strings.ReplaceAll(addUserForm, "'password'", "'word'"))}, form.Err},
		{"without an end", []string{command("executing", addUserForm), command("executing", addUserForm), command("executing", addUserForm), command("executing", addUserForm), command("executing", addUserForm)}, form.Err},
		{"none of a command", []string{"<iq type='result'/>"}, form.Err},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{t: t, answers: tt.answers}
			err := AddUser(t.Context(), s, "corp.example", "ann@corp.example", "secret")
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if len(s.sent) > 1 && !strings.Contains(s.sent[1], "sessionid='s1' action='complete'") ||
				len(s.sent) > 1 && !strings.Contains(s.sent[1], "<field var='accountjid' type='jid-single'><value>ann@corp.example</value></field><field var='password' type='text-private'><value>secret</value></field>") {
				t.Error(s.sent)
			}
		})
	}
}

func TestInvite(t *testing.T) {
	good := "xmpp:corp.example?register;preauth=x"
	until := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		answers []string
		want    Invitation
		err     error
	}{
		{"an admin's", []string{command("completed", inviteForm(good))}, Invitation{URI: good, Until: until}, nil},
		{"a user's", []string{forbidden, command("completed", inviteForm("xmpp:bot@corp.example?roster;preauth=x;ibr=y"))}, Invitation{URI: "xmpp:bot@corp.example?roster;preauth=x;ibr=y", Until: until}, nil},
		{"of a contact alone", []string{forbidden, command("completed", inviteForm("xmpp:bot@corp.example?roster;preauth=x"))}, Invitation{}, ErrNotAllowed},
		{"none", []string{forbidden, forbidden}, Invitation{}, ErrNoCommand},
		{"nothing", []string{command("completed", "")}, Invitation{}, form.Err},
		{"rubbish", []string{command("completed", inviteForm("javascript:x"))}, Invitation{}, errURI},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Invite(t.Context(), &script{t: t, answers: tt.answers}, "corp.example")
			if got != tt.want || !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// FuzzReadForm: whatever a server sends is a form that can be filled in and sent back,
// or an error; what people are shown holds no control characters.
func FuzzReadForm(f *testing.F) {
	for _, s := range []string{legacyForm, dataForm, captchaForm, forbidden} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		e, err := element.Parse([]byte(in), element.Scope{Default: nsClient}, element.Limits{})
		if err != nil {
			return
		}
		got, err := ReadForm(e)
		var no *Refusal
		if err != nil {
			if !errors.As(err, &no) && !errors.Is(err, form.Err) {
				t.Fatal(err)
			}
			return
		}
		if strings.ContainsFunc(got.Instructions+got.URL, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Fatalf("%q, %q", got.Instructions, got.URL)
		}
		for _, field := range got.Missing() {
			field.Set("x")
		}
		if _, err := element.Parse(element.AppendXML(nil, got.Submit("1", "ann", "secret"), nsClient), element.Scope{Default: nsClient}, element.Limits{}); err != nil && !errors.Is(err, element.ErrLimit) {
			t.Fatal(err)
		}
	})
}

// FuzzParseURI: what is read of an invitation holds nothing but words.
func FuzzParseURI(f *testing.F) {
	f.Add("xmpp:bot@corp.example?roster;preauth=x;ibr=y")
	f.Add("xmpp:corp.example?register;preauth=%41")
	f.Fuzz(func(t *testing.T, in string) {
		got, err := ParseURI(in)
		if err == nil && (got.Value == "" || got.Domain == "" || strings.ContainsAny(got.Value+got.Domain+got.User, " \r\n\x00")) {
			t.Fatalf("%q: %+v", in, got)
		}
	})
}
