package link

import (
	"context"
	"fmt"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
)

// maxSaidBack bounds a foreign word that is said back, in bytes.
const maxSaidBack = 64

var (
	_ bridge.AsideDesk = (*Book)(nil)
	_ bridge.Proofs    = (*Book)(nil)
)

// Aside implements bridge.AsideDesk: it answers !link of somebody alone with the bot on
// IRC.
func (b *Book) Aside(ctx context.Context, a bridge.Aside) string {
	name := a.Account()
	switch {
	case len(a.Words) != 2:
		return b.standing(a.Leg, name)
	case strings.EqualFold(a.Words[1], "off"):
		if name == "" {
			return refusal(ErrNoAccount)
		}
		l, err := b.End(a.Leg, name, a.Leg+"/"+name, "the account asked for that")
		if err != nil {
			return refusal(err)
		}
		return "Done: the account " + l.Account + " does not act as " + l.Person + " any more."
	}
	asked, err := b.Ask(ctx, a.Leg, name, a.From.Nick, a.Words[1])
	if err != nil {
		return refusal(err)
	}
	left := asked.Until.Sub(b.now()).Round(time.Minute)
	return fmt.Sprintf("The code for your account %s is %s\nIf %s is known here, they are asked on Jabber now. Send it to me from there, in your own encrypted chat with me, within %d minutes: !link %s",
		name, asked.Code, bridge.Shorten(a.Words[1], maxSaidBack), int(left.Minutes()), asked.Code)
}

// standing says how an account stands, and what can be asked.
func (b *Book) standing(network, name string) string {
	const usage = "!link NAME joins your account here and your Jabber account: NAME is how you are called there, or your JID. !link off ends that."
	if name == "" {
		return usage + " You have to be logged in here."
	}
	if l, ok := b.Of(network, name); ok {
		return "Your account " + name + " acts as " + l.Person + ". !link off ends that."
	}
	return usage
}

// Prove implements bridge.Proofs: it takes !link, and the clear-signed sentence.
func (b *Book) Prove(ctx context.Context, c *bridge.Claim) string {
	words := strings.Fields(c.Text)
	if len(words) > 1 && strings.EqualFold(words[0], "!link") {
		switch strings.ToLower(words[1]) {
		case "list":
			return b.mine(c.Person)
		case "off":
			return b.off(c, words[2:])
		}
	}
	if len(words) < 2 {
		return b.mine(c.Person) + "\nOn IRC, write to me alone: !link " + c.Person + ". Here: !link CODE, with the code you are shown there; !link list; !link off NETWORK/ACCOUNT."
	}
	l, err := b.Confirm(ctx, c)
	if err != nil {
		return b.refused(ctx, c, err)
	}
	key := "link_proven"
	if !l.Waits.IsZero() {
		key = "link_admin"
	}
	return b.say(ctx, l.Network, l.Account, key, "account", l.Account, "network", l.Network)
}

// off ends one of the person's own links: that takes nothing but being them.
func (b *Book) off(c *bridge.Claim, words []string) string {
	if c.Stale {
		return refusal(ErrStale)
	}
	network, name, ok := strings.Cut(strings.Join(words, ""), "/")
	if !ok {
		return "Which? !link off NETWORK/ACCOUNT"
	}
	_, err := b.endIf(network, name, c.Person, "you asked for that", func(l *guard.Link) bool { return l.Person == c.Person })
	if err != nil {
		return refusal(err)
	}
	return "Done: " + network + "/" + name + " does not act as you any more."
}

// mine lists the links of a person.
func (b *Book) mine(person string) string {
	var out []string
	for _, l := range b.List() {
		if l.Person == person {
			out = append(out, Line(&l, b.now()))
		}
	}
	if out == nil {
		return "No account of IRC is linked to you."
	}
	return strings.Join(out, "\n")
}

// Line describes a link, for people.
func Line(l *guard.Link, now time.Time) string {
	text := l.Person + ": " + l.Network + "/" + l.Account
	if !l.Waits.IsZero() {
		return text + ", proven" + byKey(l) + ", waits for an admin until " + l.Waits.UTC().Format(time.DateOnly)
	}
	text += " since " + l.Made.UTC().Format(time.DateOnly)
	if l.Key != "" {
		text += ", proven" + byKey(l)
	}
	if l.By != "" {
		text += ", agreed to by " + l.By
	}
	if days := int(now.Sub(l.Used).Hours() / 24); days > 0 {
		text += fmt.Sprintf(", not used for %d days", days)
	}
	return text
}

// byKey says by which key a link was proven, if that is known.
func byKey(l *guard.Link) string {
	if l.Key == "" {
		return ""
	}
	return " by key " + l.Key
}
