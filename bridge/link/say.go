package link

import (
	"context"
	"errors"
	"strings"

	"drawbridge/bridge"
	"drawbridge/bridge/proof"
	"drawbridge/bridge/wording"
)

// This file has people read what a link asks of them in their own language.

// say writes a text for who has, or claims, an account. args are pairs.
func (b *Book) say(ctx context.Context, network, account, key string, args ...string) string {
	if b.d.Say == nil {
		return english(key, args...)
	}
	return b.d.Say(ctx, network, account, key, pairs(args))
}

// english is a text as the program brings it, for admins and logs.
func english(key string, args ...string) string {
	return wording.Builtin().Say(wording.English, key, pairs(args))
}

func pairs(args []string) map[string]string {
	out := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		out[args[i]] = args[i+1]
	}
	return out
}

// weak is an ErrProof, by the key of the text that says why, with the one value that
// the text has room for.
type weak struct{ key, arg, value string }

func (w *weak) Error() string { return "link: " + english(w.key, w.arg, w.value) }

func (*weak) Unwrap() error { return ErrProof }

// whys are the keys of what is wrong.
var whys = []struct {
	err error
	key string
}{
	{proof.ErrUnknown, "link_unknown"},
	{proof.ErrLate, "link_late"},
	{proof.ErrUsed, "link_used"},
	{proof.ErrMany, "link_many"},
	{proof.ErrOften, "link_tries"},
	{ErrStale, "link_stale"},
	{ErrGone, "link_gone"},
	{ErrNotKept, "link_not_kept"},
	{ErrLinked, "link_taken"},
	{ErrNothing, "link_over"},
}

// refused says why somebody's answer links nothing.
func (b *Book) refused(ctx context.Context, c *bridge.Claim, err error) string {
	network, account := b.asks(c.Person)
	say := func(key string, args ...string) string { return b.say(ctx, network, account, key, args...) }
	var w *weak
	if errors.As(err, &w) {
		text := say("link_refused", "why", say(w.key, w.arg, w.value))
		if !proof.IsSigned(c.Text) {
			text += " " + say("link_sign_it")
		}
		return text
	}
	for _, x := range whys {
		if errors.Is(err, x.err) {
			return say("link_refused", "why", say(x.key))
		}
	}
	return say("link_refused", "why", say("link_signature", "why", err.Error())) // of Deps.Verify
}

// asks is the account that asked a person last, open or not; empty where none did lately.
func (b *Book) asks(person string) (network, account string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var last proof.Ticket
	b.asked.Has(func(t *proof.Ticket) bool {
		if t.Person == person && !t.Made.Before(last.Made) {
			last = *t
		}
		return false
	})
	return last.Network, last.Account
}

// refusal says in English what is wrong, with all that is known of it.
func refusal(err error) string {
	if errors.Is(err, ErrComesBack) {
		return "Done, for now: " + problem(err) + "."
	}
	return "Not done: " + problem(err) + "."
}

func problem(err error) string {
	for _, x := range whys {
		if errors.Is(err, x.err) && !strings.HasPrefix(err.Error(), "link: ") { // of package proof
			return english(x.key)
		}
	}
	return strings.TrimPrefix(err.Error(), "link: ")
}
