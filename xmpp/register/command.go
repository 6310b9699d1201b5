package register

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/xmpp/element"
	"drawbridge/xmpp/form"
)

const nsCommands = "http://jabber.org/protocol/commands"

// The nodes of ad-hoc commands that make accounts.
const (
	NodeAddUser       = "http://jabber.org/protocol/admin#add-user" // XEP-0133 §4.1
	NodeInvite        = "urn:xmpp:invite#invite"                    // XEP-0401: a contact of the bot's, and an account
	NodeCreateAccount = "urn:xmpp:invite#create-account"            // XEP-0401: an account, by admins
)

// ErrNoCommand means that the server has no such command, or not for this account.
var ErrNoCommand = errors.New("the server has no such command, or not for this account")

// Asker asks the server with an account that is logged in: payload in an IQ to a JID
// (XEP-0050 asks by "set"). The answer is the whole IQ; one of type error is no answer but
// a *Refusal, as RefusalOf has it.
type Asker interface {
	AskIQ(ctx context.Context, typ, to string, payload *element.Element) (*element.Element, error)
}

// maxSteps bounds the steps of one command.
const maxSteps = 5

// run carries a command out: fill is called with each form, and returns what to send.
// The last answer's form is returned, nil if it has none.
func run(ctx context.Context, ask Asker, server, node string, fill func(*form.Form) error) (*form.Form, error) {
	command := element.New(nsCommands, "command", "node", node, "action", "execute")
	for range maxSteps {
		iq, err := ask.AskIQ(ctx, "set", server, command)
		var r *Refusal
		switch {
		case errors.As(err, &r):
			if errors.Is(r, ErrNoRegistration) || errors.Is(r, ErrNotAllowed) && len(command.Children) == 0 {
				r.Err = ErrNoCommand
			}
			return nil, r
		case err != nil:
			return nil, err
		}
		c := iq.Child(nsCommands, "command")
		if c == nil {
			return nil, fmt.Errorf("%w: the answer is none of a command", form.Err)
		}
		switch c.Get("status") {
		case "completed":
			return completed(c)
		case "executing":
		default:
			return nil, &Refusal{Err: ErrNotAllowed, Condition: "canceled", Text: note(c, "")}
		}
		f, err := form.Parse(c.Child(form.NS, "x"))
		if err != nil {
			return nil, err
		}
		if err := fill(f); err != nil {
			return nil, err
		}
		command = element.New(nsCommands, "command", "node", node, "sessionid", c.Get("sessionid"), "action", "complete").Add(f.Submit())
	}
	return nil, fmt.Errorf("%w: more than %d steps", form.Err, maxSteps)
}

// completed reads the end of a command. A note of type error is a no (XEP-0050 §3.4;
// Prosody refuses so).
func completed(c *element.Element) (*form.Form, error) {
	if text := note(c, "error"); text != "" {
		r := &Refusal{Err: ErrNotAllowed, Condition: "note", Text: text}
		if strings.Contains(text, "already exists") {
			r.Err = ErrTaken
		}
		return nil, r
	}
	x := c.Child(form.NS, "x")
	if x == nil {
		return nil, nil
	}
	return form.ParseResult(x)
}

// note returns the first note of a type; any for "".
func note(c *element.Element, typ string) string {
	for _, n := range c.Children {
		if n.Is(nsCommands, "note") && (typ == "" || n.Get("type") == typ) {
			return clean(n.Text)
		}
	}
	return ""
}

// AddUser makes an account by an admin's command. Errors: a *Refusal; one of ErrNoCommand
// where the account that asks is no admin.
func AddUser(ctx context.Context, ask Asker, server, jid, password string) error {
	_, err := run(ctx, ask, server, NodeAddUser, func(f *form.Form) error {
		for name, value := range map[string]string{"accountjid": jid, "password": password, "password-verify": password} {
			field := f.Field(name)
			if field == nil && name != "password-verify" {
				return fmt.Errorf("%w: the command asks for no %s", form.Err, name)
			}
			if field != nil {
				field.Set(value)
			}
		}
		return nil
	})
	return err
}

// Invite asks for an invitation by which an account can be made: one that an admin may
// give, or else one that every user may give, where the server lets users invite. An
// invitation that makes a contact alone is refused with ErrNotAllowed.
func Invite(ctx context.Context, ask Asker, server string) (Invitation, error) {
	inv, err := invite(ctx, ask, server, NodeCreateAccount)
	if errors.Is(err, ErrNoCommand) {
		inv, err = invite(ctx, ask, server, NodeInvite)
	}
	if err != nil {
		return Invitation{}, err
	}
	t, err := ParseURI(inv.URI)
	switch {
	case err != nil:
		return Invitation{}, err
	case !t.Account:
		return Invitation{}, &Refusal{Err: ErrNotAllowed, Condition: "contact-only", Text: "its users may invite contacts, and not to new accounts"}
	}
	return inv, nil
}

func invite(ctx context.Context, ask Asker, server, node string) (Invitation, error) {
	f, err := run(ctx, ask, server, node, func(*form.Form) error { return nil })
	if err != nil {
		return Invitation{}, err
	}
	if f == nil {
		return Invitation{}, fmt.Errorf("%w: the command gives nothing back", form.Err)
	}
	value := func(names ...string) string {
		i := slices.IndexFunc(names, func(n string) bool { return f.Field(n) != nil })
		if i < 0 {
			return ""
		}
		return clean(f.Field(names[i]).Value())
	}
	inv := Invitation{URI: value("uri"), Page: webURL(value("landing-url", "url"))}
	inv.Until, _ = time.Parse(time.RFC3339, value("expire")) // zero where it is none
	return inv, nil
}
