package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"drawbridge/bridge"
	"drawbridge/bridge/link"
	"drawbridge/bridge/migrate"
	"drawbridge/bridge/move"
	"drawbridge/bridge/proof"
	"drawbridge/internal/config"
	"drawbridge/irc"
	"drawbridge/policy"
	"drawbridge/xmpp"
	"drawbridge/xmpp/register"
	"drawbridge/xmpp/stream"
)

// moveBridges are the bridges of c whose people move, with what is said to them.
func moveBridges(c *config.Config, texts migrationTexts) (out []move.Bridge) {
	for i := range c.Migration {
		m := &c.Migration[i]
		b := &c.Bridges[slices.IndexFunc(c.Bridges, func(b config.Bridge) bool { return b.Name == m.Name })]
		mb := move.Bridge{Name: m.Name, Leg: b.XMPP.Account, Schemes: b.Schemes, To: m.To, Texts: texts[m.Name]}
		if len(m.Language) > 0 {
			mb.Language = m.Language[0]
		}
		for _, ch := range b.IRC {
			mb.Channels = append(mb.Channels, irc.Room(ch.Network, ch.Channel))
		}
		for _, r := range b.XMPP.Rooms {
			if !slices.Contains(m.Closes, r.Room) { // nobody is invited to what is left
				mb.Rooms = append(mb.Rooms, r.Room)
			}
		}
		out = append(out, mb)
	}
	return out
}

// newMoves makes the desk of !move. Without a migration it answers nobody, until a
// reload brings one.
func (b *bot) newMoves(core *bridge.Deps, texts migrationTexts) {
	deps := move.Deps{World: &moveWorld{b: b, servers: map[string]serverSeen{}}, Log: b.log}
	if deps.Store = migrate.NewMemory(); b.store != nil {
		deps.Store = b.store.Migrate()
	}
	b.moves = move.New(deps)
	b.moves.Reload(moveBridges(b.cfg, texts))
	core.Asides["!move"], core.Asides[""] = b.moves, b.moves
	core.Proofs = moveProofs{core.Proofs, b.moves, b.recheckGuard}
}

// moveProofs takes the answer to a test message out of what people prove in their own
// chat.
type moveProofs struct {
	bridge.Proofs
	moves *move.Desk
	// fresh has links and guard know the keys as they are now: one that was accepted since
	// the last look proves its owner at once.
	fresh func()
}

// Prove implements bridge.Proofs.
func (p moveProofs) Prove(ctx context.Context, c *bridge.Claim) string {
	if word, _, _ := strings.Cut(c.Text, " "); strings.EqualFold(strings.TrimSpace(word), "!move") {
		return p.moves.Prove(ctx, c)
	}
	p.fresh()
	return p.Proofs.Prove(ctx, c)
}

// newcomers is what an XMPP account can do for people who are new.
type newcomers struct {
	server func(ctx context.Context) (move.Server, error)
	invite func(ctx context.Context) (move.Invitation, error)
	askIn  func(ctx context.Context, room bridge.Room, jid string) error
}

// offersTime bounds the look at what a server offers before the login.
const offersTime = 5 * time.Second

// newNewcomers asks by the leg l, whose account is conf's.
func newNewcomers(l *xmpp.Leg, conf xmpp.Config) *newcomers {
	return &newcomers{
		server: func(ctx context.Context) (s move.Server, err error) {
			if s.Invites, err = l.Invites(ctx); s.Invites {
				return s, err
			}
			offer, other := offersAccounts(ctx, conf) // it may say the one, and not the other
			s.InBand, s.Page = offer.Open, offer.Page
			return s, errors.Join(err, other)
		},
		invite: func(ctx context.Context) (move.Invitation, error) {
			inv, err := l.Invitation(ctx)
			return move.Invitation{Link: inv.Link(), Until: inv.Until}, err
		},
		askIn: l.AskIn,
	}
}

// offersAccounts asks what the server of an account offers to who has none. Nobody is
// sent to a server without TLS: their password would go there in clear.
func offersAccounts(ctx context.Context, conf xmpp.Config) (register.Offer, error) {
	if conf.TLS.Mode == stream.NoTLS {
		return register.Offer{}, nil
	}
	j, err := jid.Parse(conf.JID)
	if err != nil {
		return register.Offer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, offersTime)
	defer cancel()
	e, err := stream.DialEarly(ctx, stream.Config{JID: j.Bare(), Server: conf.Server, TLS: conf.TLS})
	if err != nil {
		return register.Offer{}, err
	}
	defer e.Close()
	return register.Probe(e)
}

// moveWorld is the bot as the desk of !move sees it.
type moveWorld struct {
	b *bot

	mu      sync.Mutex // guards servers
	servers map[string]serverSeen
}

// serverSeen is what a server was seen to offer.
type serverSeen struct {
	move.Server
	at    time.Time
	asked chan struct{} // closed once the question under way is answered; nil: there is none
}

// A server is asked anew after serverAgain, or serverFailed where it did not answer.
const (
	serverAgain  = 10 * time.Minute
	serverFailed = time.Minute
	serverTime   = 6 * time.Second // for one question
)

// Person is whom an IRC account is proven to be.
func (w *moveWorld) Person(network, account string) (*policy.Person, bool) {
	people := w.people()
	for i := range people {
		p := &people[i]
		if slices.ContainsFunc(p.IRC, func(n config.IRCIdentity) bool {
			return n.Name == network && slices.ContainsFunc(n.Accounts, func(a string) bool { return strings.EqualFold(a, account) })
		}) {
			return p.Policy(), false
		}
	}
	waits := false
	for _, l := range w.b.links.List() {
		if l.Network != network || !strings.EqualFold(l.Account, account) {
			continue
		}
		if waits = !l.Waits.IsZero(); waits {
			continue
		}
		if i := slices.IndexFunc(people, func(p config.Person) bool { return p.Name == l.Person }); i >= 0 {
			return people[i].Policy(), false
		}
	}
	return nil, waits
}

// people are those of the configuration in use, which is never changed.
func (w *moveWorld) people() []config.Person {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	return w.b.cfg.People
}

// Known reports whether the configuration names a JID.
func (w *moveWorld) Known(jid string) bool {
	return slices.ContainsFunc(w.people(), func(p config.Person) bool { return hasJID(p, jid) })
}

// Domains are where people have accounts.
func (w *moveWorld) Domains() (out []string) {
	for _, p := range w.people() {
		for _, j := range p.JIDs {
			if d := strings.ToLower(domain(j)); !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
	}
	return out
}

// Link begins a link.
func (w *moveWorld) Link(ctx context.Context, network, account, nick, jid string) (string, time.Time, error) {
	asked, err := w.b.links.Ask(ctx, network, account, nick, jid)
	switch {
	case errors.Is(err, link.ErrOff):
		return "", time.Time{}, move.ErrLinksOff
	case errors.Is(err, proof.ErrMany), errors.Is(err, proof.ErrOften):
		return "", time.Time{}, move.ErrOften
	}
	return asked.Code, asked.Until, err
}

// leg finds a leg; the zero value where it is not there.
func (w *moveWorld) leg(name string) leg {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	i := slices.IndexFunc(w.b.legs, func(l leg) bool { return l.Name() == name })
	if i < 0 {
		return leg{}
	}
	return w.b.legs[i]
}

// Server asks the server of an account what it offers, once in serverAgain. Who asks
// meanwhile waits for the same answer.
func (w *moveWorld) Server(ctx context.Context, name string) move.Server {
	w.mu.Lock()
	seen := w.servers[name]
	if time.Since(seen.at) < serverAgain {
		w.mu.Unlock()
		return seen.Server
	}
	if seen.asked == nil {
		seen.asked = make(chan struct{})
		w.servers[name] = seen
		w.mu.Unlock()
		return w.ask(ctx, name, seen)
	}
	w.mu.Unlock()
	select {
	case <-seen.asked:
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.servers[name].Server
}

// ask asks, and keeps the answer.
func (w *moveWorld) ask(ctx context.Context, name string, before serverSeen) move.Server {
	now := serverSeen{}
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.servers[name] = now
		close(before.asked)
	}()
	l := w.leg(name)
	if l.newcomers == nil {
		return move.Server{}
	}
	ctx, cancel := context.WithTimeout(ctx, serverTime)
	defer cancel()
	s, err := l.newcomers.server(ctx)
	now = serverSeen{Server: s, at: time.Now()}
	if err != nil {
		w.b.log.Warn("the server does not say how accounts are made", "leg", name, "err", err)
		now.at = now.at.Add(serverFailed - serverAgain)
	}
	return s
}

// Invite asks for an invitation to an account.
func (w *moveWorld) Invite(ctx context.Context, name string) (move.Invitation, error) {
	l := w.leg(name)
	if l.newcomers == nil {
		return move.Invitation{}, bridge.ErrNotReady
	}
	return l.newcomers.invite(ctx)
}

// AskIn invites to a room.
func (w *moveWorld) AskIn(ctx context.Context, name, room, jid string) error {
	l := w.leg(name)
	if l.newcomers == nil {
		return bridge.ErrNotReady
	}
	return l.newcomers.askIn(ctx, bridge.Room{Leg: name, Kind: bridge.MUC, Name: room}, jid)
}

// Bot is an account of the bot's, and its keys.
func (w *moveWorld) Bot(name string) (jid, keys string) {
	w.b.mu.Lock()
	if a := w.b.cfg.Account(name); a != nil {
		jid = bareJID(a.JID)
	}
	w.b.mu.Unlock()
	return jid, w.b.core.OwnKeys(name)
}

// Usable is the scheme by which a person can be reached now.
func (w *moveWorld) Usable(name, person string) string {
	l := w.leg(name)
	if l.Leg == nil {
		return ""
	}
	for _, r := range l.Status().Rooms {
		if r.Room.Kind == bridge.Chat && r.Room.Name == person {
			return r.Scheme
		}
	}
	return ""
}

// Tell says something to a person, sealed.
func (w *moveWorld) Tell(name, person, text string) bool {
	return w.b.core.TellPerson(name, person, text)
}

// TellNick says something to a nick.
func (w *moveWorld) TellNick(name, nick, text string) { w.b.core.TellNick(name, nick, text) }

// TellAdmins says something to the admins, and notes it.
func (w *moveWorld) TellAdmins(text string) {
	if w.b.core.TellAdmins(text) == 0 {
		w.b.log.Warn("nobody hears that somebody waits for an admin: admin.people have no encrypted chat", "n", 0)
	}
}

// Refuse has somebody not counted, or counted again.
func (w *moveWorld) Refuse(ctx context.Context, network, name string, refuses bool) error {
	return w.b.mover.Refuse(ctx, network, name, refuses)
}
