package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"drawbridge/xmpp/element"
	"drawbridge/xmpp/form"
	"drawbridge/xmpp/register"
	"drawbridge/xmpp/stream"
)

// registrar makes accounts, one after the other.
type registrar struct {
	g       *globals
	o       *registerOptions
	answers map[string]string
	in      *bufio.Reader
	admin   *asker // nil: in-band
}

// What became of an account.
const (
	accountMade  = "made"
	accountThere = "there already"
)

// create makes an account, and tries it.
func (r *registrar) create(ctx context.Context, a *newAccount) (string, error) {
	password, fresh, err := passwordOf(a.file)
	if err != nil {
		return "", failed(err, "")
	}
	a.stream.Password = password
	if !fresh { // of an earlier try
		if login(ctx, a) == nil {
			return accountThere, nil
		}
	}
	if r.admin != nil {
		err = r.byCommand(ctx, a)
	} else {
		err = r.inBand(ctx, a)
	}
	var no *register.Refusal
	switch {
	case err == nil:
	case errors.Is(err, register.ErrTaken) && !fresh:
		return "", failed(fmt.Errorf("%s is there, and %s does not hold its password", a.jid, a.file), "choose another name, or write its password there")
	default:
		if fresh && (errors.As(err, &no) || !errors.Is(err, errUnclear)) {
			_ = os.Remove(a.file) // of an account that is not
		}
		return "", explainRefusal(a, err, r.admin != nil)
	}
	if err := login(ctx, a); err != nil {
		return "", failed(fmt.Errorf("%s was made, and its password is in %s, but logging in fails: %w", a.jid, a.file, err), "does the server want it approved first?")
	}
	return accountMade, nil
}

// passwordOf is what a file holds, or a fresh password that it holds now.
func passwordOf(file string) (password string, fresh bool, err error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		password = rand.Text()
		return password, true, writeNew(file, []byte(password+"\n"), 0o600)
	}
	if err != nil {
		return "", false, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return "", false, fmt.Errorf("%s is open to others (mode %04o), or no file: chmod 600 it", file, info.Mode().Perm())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", false, err
	}
	password = strings.TrimRight(string(data), "\r\n")
	if password == "" || strings.ContainsAny(password, "\r\n\x00") {
		return "", false, fmt.Errorf("%s holds no password: it has to be one line", file)
	}
	return password, false, nil
}

// login tries an account.
func login(ctx context.Context, a *newAccount) error {
	st, err := stream.Dial(ctx, a.stream)
	if err != nil {
		return err
	}
	return st.Close()
}

// errUnclear wraps the loss of the server while it may be making the account.
var errUnclear = errors.New("the server was lost before it answered; the same command finds out")

// inBand makes an account before the login (XEP-0077).
func (r *registrar) inBand(ctx context.Context, a *newAccount) error {
	token, err := r.token(a)
	if err != nil {
		return err
	}
	early, err := stream.DialEarly(ctx, a.stream)
	if err != nil {
		return err
	}
	defer early.Close()
	if token != nil {
		answer, err := early.IQ(register.Preauth("reg0", token.Value, token.Domain))
		if err == nil {
			err = register.ReadPreauth(answer)
		}
		if err != nil {
			return err
		}
	}
	answer, err := early.IQ(register.Request("reg1"))
	if err != nil {
		return err
	}
	f, err := register.ReadForm(answer)
	if err != nil {
		return err
	}
	if err := r.fill(f, a); err != nil {
		return err
	}
	answer, err = early.IQ(f.Submit("reg2", a.jid.Localpart(), a.stream.Password))
	if err != nil {
		return fmt.Errorf("%w: %w", errUnclear, err)
	}
	return register.ReadDone(answer)
}

// token is what an invitation can do for an account; nil without one.
func (r *registrar) token(a *newAccount) (*register.Token, error) {
	if r.o.invitation == "" {
		return nil, nil
	}
	t, err := register.ParseURI(r.o.invitation)
	refuse := func(condition, text string) (*register.Token, error) {
		return nil, &register.Refusal{Err: register.ErrInvitation, Condition: condition, Text: text}
	}
	switch {
	case err != nil:
		return nil, err
	case t.Domain != a.jid.Domainpart():
		return refuse("foreign", "it is of "+t.Domain)
	case t.User != "" && t.User != a.jid.Localpart():
		return refuse("other name", "it is for "+t.User+"@"+t.Domain)
	case !t.Account:
		return refuse("contact only", "it makes a contact, not an account")
	}
	return &t, nil
}

// fill answers what the form asks for.
func (r *registrar) fill(f *register.Form, a *newAccount) error {
	if err := f.Fill(r.answers); err != nil {
		return err
	}
	missing := f.Missing()
	if len(missing) == 0 {
		return nil
	}
	if f.Instructions != "" {
		sayf(r.g.err, "%s says: %s\n", a.jid.Domainpart(), f.Instructions)
	}
	if f.URL != "" {
		sayf(r.g.err, "see %s\n", f.URL)
		if err := writeQR(r.g.err, f.URL); err != nil {
			return err
		}
	}
	for _, field := range missing {
		value, err := r.ask(f, field)
		if err != nil {
			return err
		}
		field.Set(value)
	}
	return nil
}

// ask asks for one field.
func (r *registrar) ask(f *register.Form, field *form.Field) (string, error) {
	for _, uri := range field.Media {
		if err := r.show(f, uri); err != nil {
			return "", err
		}
	}
	if r.o.noInput {
		return "", fmt.Errorf("the server wants to know %q (%s); give --field %s=…", field.Name, field.Label, field.Name)
	}
	for _, opt := range field.Options {
		sayf(r.g.err, "  %s  %s\n", printable(opt.Value), printable(opt.Label))
	}
	sayf(r.g.err, "%s: ", printable(orElse(field.Label, field.Name)))
	line, err := r.in.ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if err != nil && line == "" {
		return "", fmt.Errorf("the server wants to know %q, and nothing was typed; give --field %s=…", field.Name, field.Name)
	}
	return line, nil
}

// show shows a picture or sound: as an address with its QR code, or as a file.
func (r *registrar) show(f *register.Form, uri string) error {
	file, ok := f.Files[uri]
	if !ok {
		if !strings.HasPrefix(uri, "https://") && !strings.HasPrefix(uri, "http://") {
			return nil
		}
		sayf(r.g.err, "see %s\n", printable(uri))
		return writeQR(r.g.err, uri)
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(file.Data), ""))
	if err != nil {
		return fmt.Errorf("the server's picture cannot be read: %w", err)
	}
	ext, ok := map[string]string{"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "audio/x-wav": ".wav", "audio/ogg": ".ogg"}[file.Type]
	if !ok {
		ext = ".bin"
	}
	out, err := os.CreateTemp("", "drawbridge-captcha-*"+ext)
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	sayf(r.g.err, "look at %s\n", out.Name())
	return nil
}

// printable is a server's word for a terminal.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return -1
		}
		return c
	}, s)
}

// login logs the admin in.
func (r *registrar) login(ctx context.Context) error {
	a, err := parseAccount(r.o.as)
	if err != nil {
		return err
	}
	c := r.o.stream(a.jid)
	password, fresh, err := passwordIn(r.o.asPassword)
	if err != nil || fresh {
		return misused(fmt.Errorf("--as-password-file: %w", err), "")
	}
	c.Password = password
	st, err := stream.Dial(ctx, c)
	if err != nil {
		return failed(fmt.Errorf("%s cannot log in: %w", a.jid, err), "")
	}
	r.admin = &asker{st: st, jid: a.jid}
	return nil
}

// passwordIn reads a file that must be there.
func passwordIn(file string) (string, bool, error) {
	if _, err := os.Stat(file); err != nil {
		return "", false, err
	}
	return passwordOf(file)
}

// byCommand has the admin make an account.
func (r *registrar) byCommand(ctx context.Context, a *newAccount) error {
	server := r.admin.jid.Domainpart()
	if a.jid.Domainpart() != server {
		return &register.Refusal{Err: register.ErrNotAllowed, Condition: "foreign", Text: r.admin.jid.String() + " is of " + server + ", and can make accounts there alone"}
	}
	err := register.AddUser(ctx, r.admin, server, a.jid.String(), a.stream.Password)
	var no *register.Refusal
	if err != nil && !errors.As(err, &no) && !errors.Is(err, form.Err) {
		return fmt.Errorf("%w: %w", errUnclear, err)
	}
	return err
}

// invitations prints links.
func (r *registrar) invitations(ctx context.Context, args []string) error {
	if len(args) > 0 || r.o.list != "" {
		return misused(errors.New("an invitation is for whoever has the link"), "leave the accounts out")
	}
	for range r.o.invite {
		inv, err := register.Invite(ctx, r.admin, r.admin.jid.Domainpart())
		if err != nil {
			return explainRefusal(&newAccount{jid: r.admin.jid}, err, true)
		}
		sayln(r.g.out, inv.Link())
		if inv.Page != "" {
			sayln(r.g.out, inv.URI)
		}
		if !inv.Until.IsZero() {
			sayf(r.g.err, "good for one account, until %s\n", inv.Until.Local().Format("2006-01-02 15:04"))
		}
		if err := writeQR(r.g.err, inv.Link()); err != nil {
			return err
		}
	}
	return nil
}

// asker asks by a stream that serves nothing else.
type asker struct {
	st  *stream.Stream
	jid jid.JID
}

// adminAskTime bounds one question.
const adminAskTime = time.Minute

// AskIQ asks, and waits for the answer.
func (a *asker) AskIQ(ctx context.Context, typ, to string, payload *element.Element) (*element.Element, error) {
	ctx, cancel := context.WithTimeout(ctx, adminAskTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = a.st.Close() })
	defer stop()
	id := "reg-" + rand.Text()[:8]
	if _, err := a.st.Send(element.New(nsClient, "iq", "type", typ, "id", id, "to", to).Add(payload)); err != nil {
		return nil, err
	}
	for {
		e, err := a.st.Next()
		var large *stream.TooLargeError
		var malformed *stream.MalformedError
		switch {
		case errors.As(err, &large), errors.As(err, &malformed):
			continue
		case err != nil:
			return nil, err
		case e.Local == "iq" && e.Get("id") == id && (e.Get("type") == "result" || e.Get("type") == "error"):
			if r := register.RefusalOf(e); r != nil {
				return nil, r
			}
			return e, nil
		}
	}
}

func (a *asker) close() { _ = a.st.Close() }

const nsClient = "jabber:client"
