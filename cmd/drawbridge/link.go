package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/link"
	"drawbridge/internal/config"
	"drawbridge/policy"
)

// linkConfig is what the book of links takes: the people as the policy has them, but for
// what is linked, and the keys by which they are known.
func linkConfig(c *config.Config, people []*policy.Person, known map[string][]string) link.Config {
	return link.Config{
		Mode:   map[string]link.Mode{"staff": link.Staff, "open": link.Open, "off": link.Off}[c.Safety.Link],
		People: people, Groups: c.PolicySpec(nil).Groups, Keys: known,
	}
}

// newLinks makes the book of links of what the guard's store has.
func (b *bot) newLinks(st guard.Store, known map[string][]string) error {
	kept, err := st.Load(context.Background())
	if err != nil {
		return storeFailed(err)
	}
	b.links = link.New(linkConfig(b.cfg, policyPeople(b.cfg, b.keys), known), link.Deps{
		Log: b.log, Store: st, Kept: kept,
		Chat: b.chatOf,
		Tell: func(leg, person, text string) { b.core.TellPerson(leg, person, text) },
		TellAdmins: func(text string) {
			b.core.TellAdmins(text)
		},
		TellNick: func(network, nick, text string) { b.core.TellNick(network, nick, text) },
		Say: func(ctx context.Context, network, account, key string, args map[string]string) string {
			return b.moves.SayTo(ctx, network, account, key, args)
		},
		Note:    func(a *guard.Act) { b.guard.Note(*a) },
		Verify:  b.verifySigned,
		Account: b.askAccount,
		Present: func(network, account string) bool { return b.guard.Present(network, account) },
		Changed: b.relinked,
	})
	return nil
}

// chatOf is the encrypted chat of a person: the first bridge's that has them.
func (b *bot) chatOf(person string) (leg, jid string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, br := range b.cfg.Bridges {
		if br.XMPP == nil || !br.Require.Encrypted() || !slices.Contains(br.XMPP.People, person) {
			continue
		}
		if a := b.cfg.Account(br.XMPP.Account); a != nil {
			return a.Name, bareJID(a.JID), true
		}
	}
	return "", "", false
}

// askAccount asks the services of a network about an account.
func (b *bot) askAccount(ctx context.Context, network, account string) (bridge.AccountSeen, error) {
	b.mu.Lock()
	i := slices.IndexFunc(b.legs, func(l leg) bool { return l.Name() == network })
	var asks bridge.AccountLeg
	if i >= 0 {
		asks, _ = b.legs[i].Leg.(bridge.AccountLeg)
	}
	b.mu.Unlock()
	if asks == nil {
		return bridge.AccountSeen{}, bridge.ErrNotReady
	}
	return asks.Account(ctx, account)
}

// relinked has the core and the guard follow the links.
func (b *bot) relinked() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rebind()
	if err := b.reloadGuard(); err != nil {
		b.log.Error("the guard keeps its old policy", "err", err)
	}
}

// rebind has the core follow the links. b.mu is held.
func (b *bot) rebind() {
	if _, err := b.core.Reload(coreConfig(b.cfg, b.legs, b.links)); err != nil && !errors.Is(err, bridge.ErrStoppedCore) {
		b.log.Error("links do not count for what is relayed", "err", err)
	}
}

// seenGate notes which linked accounts are used, and asks the guard.
type seenGate struct {
	bridge.Gate
	links *link.Book
}

// In implements bridge.Gate.
func (g seenGate) In(m *bridge.Message, now time.Time) bridge.Ruling {
	if m.From.Account != "" && !m.Delayed {
		g.links.Used(m.Room.Leg, m.From.Account)
	}
	return g.Gate.In(m, now)
}

// proofDesk hands what people ask and prove in their own chat to who asked it of them.
type proofDesk struct {
	links   *link.Book
	invites bridge.Proofs // nil: nobody is invited
}

var _ bridge.Proofs = proofDesk{}

// Claims implements bridge.Proofs.
func (d proofDesk) Claims(person, text string) bool {
	return d.links.Claims(person, text) || d.invites != nil && d.invites.Claims(person, text)
}

// Prove implements bridge.Proofs.
func (d proofDesk) Prove(ctx context.Context, c *bridge.Claim) string {
	word, _, _ := strings.Cut(c.Text, " ")
	switch {
	case strings.EqualFold(strings.TrimSpace(word), "!link"), d.links.Claims(c.Person, c.Text):
		return d.links.Prove(ctx, c)
	case d.invites != nil:
		return d.invites.Prove(ctx, c)
	}
	return "Nobody is invited here."
}

// linkAnswers are the orders about links, for `drawbridge guard` and !guard.
func linksOrder(_ context.Context, on guardOn, _ guardArgs, _ string) (guardAnswer, error) {
	all, now := on.links.List(), time.Now()
	var lines []string
	for i := range all {
		lines = append(lines, link.Line(&all[i], now))
	}
	if lines == nil {
		lines = []string{"no account is linked"}
	}
	return guardAnswer{strings.Join(lines, "\n"), all}, nil
}

func linkOrder(ctx context.Context, on guardOn, a guardArgs, by string) (guardAnswer, error) {
	network, account, ok := strings.Cut(a.Account, "/")
	if !ok {
		return guardAnswer{}, errNoAccount
	}
	l, err := on.links.Accept(ctx, a.Who, network, account, by)
	return guardAnswer{fmt.Sprintf("%s/%s is %s from now on", l.Network, l.Account, l.Person), l}, err
}

func unlinkOrder(_ context.Context, on guardOn, a guardArgs, by string) (guardAnswer, error) {
	network, account, ok := strings.Cut(a.Account, "/")
	if !ok {
		return guardAnswer{}, errNoAccount
	}
	l, err := on.links.End(network, account, by, "an admin ended it")
	text := fmt.Sprintf("%s/%s is not %s any more", l.Network, l.Account, l.Person)
	if errors.Is(err, link.ErrComesBack) {
		return guardAnswer{text + ", but that cannot be written down: the store fails, and a restart would bring it back. It is tried again", l}, nil
	}
	return guardAnswer{text, l}, err
}

var errNoAccount = errors.New("write the account as NETWORK/ACCOUNT")
