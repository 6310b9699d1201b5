package main

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/link"
	"drawbridge/bridge/migrate"
	"drawbridge/internal/config"
	"drawbridge/irc"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/openpgp"
)

// guardConfig is what the guard takes.
func guardConfig(c *config.Config, k *keys, links *link.Book, legs []leg) guard.Config {
	out := guard.Config{
		Policy:      policySpec(c, k, links),
		MaxRemovals: policy.MaxRemovals{Count: c.Safety.MaxRemovals.Count, Share: c.Safety.MaxRemovals.Share, Per: c.Safety.MaxRemovals.Per},
		TwoPerson:   append([]string{}, c.Safety.TwoPerson...),
		ID:          c.Safety.ID,
	}
	for _, p := range c.Safety.Peers {
		peer := guard.Peer{ID: p.Name, Accounts: map[string]string{}, JIDs: p.JIDs}
		for _, n := range p.IRC {
			peer.Accounts[n.Name] = n.Account
		}
		out.Peers = append(out.Peers, peer)
	}
	for i := range c.Rooms {
		out.Rooms = append(out.Rooms, guardRoom(&c.Rooms[i], c.Bridges))
	}
	mucs := slices.ContainsFunc(out.Rooms, func(r guard.Room) bool { return r.MUC.Leg != "" })
	for _, l := range legs { // those without a guarded room have nobody to tell, but of sessions
		holds := slices.ContainsFunc(out.Rooms, func(r guard.Room) bool { return r.Channel.Leg == l.Name() || r.MUC.Leg == l.Name() })
		_, tells := l.Leg.(bridge.SessionTeller)
		if e, ok := l.Leg.(bridge.Enforcer); ok && (holds || tells && mucs) {
			out.Legs = append(out.Legs, e)
		}
	}
	return out
}

// newGuard makes the guard, which goes between the legs and the core. Without rooms:
// it holds nothing, until a reload brings some.
func (b *bot) newGuard(core *bridge.Deps) (err error) {
	deps := guard.Deps{
		Log:    b.log,
		Alarm:  func(text string) { b.core.TellAdmins("Guard: " + text) },
		Tell:   func(person, text string) bool { return b.core.TellPrivately(person, text) },
		Purge:  func(match func(*bridge.Row) bool, reason string) int { return b.core.Purge(match, reason) },
		Verify: b.verifySigned,
	}
	if deps.Store = guard.NewMemory(); b.store != nil {
		deps.Store = b.store.Guard()
	}
	known := knownKeys(b.cfg, b.keys)
	if err := b.newLinks(deps.Store, known); err != nil {
		return err
	}
	cfg := guardConfig(b.cfg, b.keys, b.links, b.legs)
	b.spec, b.known = cfg.Policy, known
	if b.guard, err = guard.New(cfg, deps); err != nil {
		return err
	}
	core.Gate, core.Guard, core.Proofs = seenGate{b.guard, b.links}, guardDesk{b.guardOrders, b.links, b.besideSpec}, proofDesk{b.links, b.guard}
	if core.Asides == nil {
		core.Asides = map[string]bridge.AsideDesk{}
	}
	core.Asides["!invite"], core.Asides["!link"] = b.guard, b.links
	return nil
}

// verifySigned checks a clear-signed text by the keys that count now.
func (b *bot) verifySigned(c *bridge.Claim) (guard.Signed, error) {
	b.mu.Lock()
	scheme, person := b.keys.accounts[c.Leg], b.cfg.Person(c.Person)
	b.mu.Unlock()
	if scheme == nil || person == nil {
		return guard.Signed{}, errors.New("this account has no OpenPGP key, and checks nobody's")
	}
	s, err := scheme.Codec().OpenClearSigned(e2ee.Peer{Account: c.Leg, Self: c.Bot, Bare: c.JID, Person: person.Policy()}, c.Text)
	if err != nil {
		return guard.Signed{}, errors.New(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "openpgp: "), "e2ee: "))
	}
	return guard.Signed{Text: s.Text, At: s.At, Fingerprint: s.Fingerprint, Rung: s.Rung}, nil
}

// guardOrders is who takes orders about guarded rooms. Where there are none it still
// shows its audit: of rooms that were, of links, of what was provisioned.
func (b *bot) guardOrders() guard.Orders { return b.guard }

// guards reports whether any room is guarded.
func (b *bot) guards() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.cfg.Rooms) > 0
}

// reloadGuard gives the guard the configuration in use, with the keys that count now.
// Who is not in it any more, or has no key left that proves them, is shown out. b.mu
// is held.
func (b *bot) reloadGuard() error {
	people := policyPeople(b.cfg, b.keys)
	known := knownKeys(b.cfg, b.keys)
	held := b.links.List()
	var ended []guard.Leaver
	for _, gone := range leavers(b.spec.People, people, b.known, known) {
		l := guard.Leaver{Person: gone.person, Why: gone.why, JIDs: gone.jids, Accounts: gone.accounts, Known: b.lapsed(gone.person)}
		if gone.all {
			l.Links, l.Proofs = b.links.EndOf(gone.person)
		} else {
			l.Links, l.Proofs = b.links.EndProven(gone.person, gone.keys)
		}
		if !gone.kept || len(l.Links)+l.Proofs > 0 {
			ended = append(ended, l)
		}
	}
	b.links.Reload(linkConfig(b.cfg, people, known))
	if !slices.Equal(b.links.List(), held) {
		b.rebind()
	}
	cfg := guardConfig(b.cfg, b.keys, b.links, b.legs)
	if err := b.guard.Reload(cfg, ended...); err != nil {
		return err
	}
	b.spec, b.known = cfg.Policy, known
	b.people.Store(migrate.NewPeople(cfg.Policy.People))
	for _, l := range ended {
		b.log.Info("off-boarding", "from", l.Person, "rule", l.Why)
		b.guard.OffBoard(l)
	}
	return nil
}

// recheckGuard gives the guard a new policy if keys came, went, were revoked or
// expired since. It is called with each look at the key files.
func (b *bot) recheckGuard() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.warnUntold(b.guard.Status())
	if reflect.DeepEqual(policySpec(b.cfg, b.keys, b.links), b.spec) && reflect.DeepEqual(knownKeys(b.cfg, b.keys), b.known) {
		return
	}
	b.log.Info("keys of people changed: everybody in guarded rooms is judged anew")
	if err := b.reloadGuard(); err != nil {
		b.log.Error("the guard keeps its old policy", "err", err)
	}
}

// warnUntold says in the log, once each, which rules ask for what a network never tells:
// that is known once it is connected. b.mu is held.
func (b *bot) warnUntold(s guard.Status) {
	for i := range s.Rooms {
		for _, p := range s.Rooms[i].Places {
			for _, e := range b.cfg.GuardDoubts(p.Room.Leg, p.Never) {
				if !b.untold[e] {
					if b.untold == nil {
						b.untold = map[config.Error]bool{}
					}
					b.untold[e] = true
					b.log.Warn("a rule asks for what a network never tells", "leg", p.Room.Leg, "rule", e.Key, "err", e.Error())
				}
			}
		}
	}
}

// leaver is somebody whose rights end.
type leaver struct {
	person, why string
	// Who is nobody any more: their JIDs, and the accounts of the configuration, as
	// "corp/alice".
	jids, accounts []string
	// all: nothing that they have proven counts any more; else what they did by these
	// keys does not. kept: those were only kept, and proved no more than links.
	all, kept bool
	keys      []string
}

// lapsed are the JIDs and accounts of somebody of whom the key that the company certified
// last has ended, one that proved them until now, or its word for it was taken back: that
// they lose what it gave them was meant. That files are missing, or certifications have
// run out, may be a mistake, whatever became of keys of before. b.mu is held.
func (b *bot) lapsed(person string) []string {
	p := b.cfg.Person(person)
	if p == nil {
		return nil
	}
	fpr := b.keys.ring.Authority(b.cfg.Keyring.Authority).Lapsed(p.Policy(), time.Now())
	if fpr == "" || !slices.ContainsFunc(b.spec.People, func(old *policy.Person) bool {
		return old.Name == person && slices.Contains(old.OpenPGP, fpr)
	}) {
		return nil
	}
	return slices.Concat(p.Policy().JIDs, accountsOf(p.Policy()))
}

// leavers are those who are in the configuration no more, or of whom a key that proved
// them does so no more. Of who is nobody any more, it names the JIDs: they hold nothing.
// had and have are the keys by which people were known, and are now, by name.
func leavers(before, now []*policy.Person, had, have map[string][]string) (out []leaver) {
	for _, old := range before {
		i := slices.IndexFunc(now, func(p *policy.Person) bool { return p.Name == old.Name })
		keys := lost(had[old.Name], have[old.Name])
		switch {
		case i < 0:
			out = append(out, leaver{person: old.Name, why: "taken out of the configuration", jids: old.JIDs, accounts: accountsOf(old), all: true})
		case !old.Gone && now[i].Gone:
			out = append(out, leaver{person: old.Name, why: "every key was revoked or expired", jids: old.JIDs, accounts: accountsOf(old), all: true})
		case len(lost(old.OpenPGP, now[i].OpenPGP))+len(lost(old.OTR, now[i].OTR)) > 0:
			out = append(out, leaver{person: old.Name, why: "a key was revoked, expired or taken out", keys: keys})
		case len(lost(old.Certified, now[i].Certified)) > 0:
			out = append(out, leaver{person: old.Name, why: "not certified by the company's key any more", all: true})
		case len(keys) > 0:
			out = append(out, leaver{person: old.Name, why: "a key was revoked, expired or taken out", keys: keys, kept: true})
		}
	}
	return out
}

// accountsOf lists the accounts of a person, as "corp/alice".
func accountsOf(p *policy.Person) (out []string) {
	for network, id := range p.IRC {
		for _, a := range id.Accounts {
			out = append(out, network+"/"+a)
		}
	}
	return out
}

// lost is what of before is not in now.
func lost(before, now []string) (out []string) {
	for _, s := range before {
		if !slices.Contains(now, s) {
			out = append(out, s)
		}
	}
	return out
}

func guardRoom(r *config.Room, bridges []config.Bridge) guard.Room {
	out := guard.Room{
		Name: r.Name, Modes: r.Lock.Modes, Topic: r.Lock.Topic, Affiliations: r.Lock.Affiliations, RotateKey: r.Lock.RotateKey,
		FollowOps: r.Follow == "ops", DryRun: r.DryRun, Floods: r.Limits(),
	}
	if r.IRC != nil {
		out.Channel = irc.Room(r.IRC.Network, r.IRC.Channel)
	}
	if r.XMPP != nil {
		for _, b := range bridges {
			if x := b.XMPP; x != nil && slices.ContainsFunc(x.Rooms, func(m config.MUC) bool { return m.Room == r.XMPP.Room }) {
				out.Bridged = b.Name
			}
		}
		out.MUC = bridge.Room{Leg: r.XMPP.Account, Kind: bridge.MUC, Name: r.XMPP.Room}
	}
	if r.Joins != nil {
		out.Joins, out.JoinsFor = policy.Limit{Count: r.Joins.Count, Per: r.Joins.Per}, r.Joins.For
	}
	return out
}

// policySpec is the policy of c: its people as policyPeople has them, with the accounts
// that are linked to them; links may be nil.
func policySpec(c *config.Config, k *keys, links *link.Book) policy.Spec {
	return c.PolicySpec(linked(policyPeople(c, k), links))
}

// policyPeople are the people of c with the keys that count now, and with the addresses
// that the company's key certified in them.
func policyPeople(c *config.Config, k *keys) []*policy.Person {
	var people []*policy.Person
	now := time.Now()
	company := k.ring.Authority(c.Keyring.Authority)
	for i := range c.People {
		people = append(people, k.proven(c.People[i].Policy(), company, now))
	}
	return people
}

// linked adds the accounts that are linked to people; links may be nil.
func linked(people []*policy.Person, links *link.Book) []*policy.Person {
	if links == nil {
		return people
	}
	for i := range people {
		people[i] = links.Bind(people[i])
	}
	return people
}

// knownKeys are the fingerprints of each person's keys that count at signed or above now,
// by name.
func knownKeys(c *config.Config, k *keys) map[string][]string {
	out := map[string][]string{}
	now := time.Now()
	company := k.ring.Authority(c.Keyring.Authority)
	for i := range c.People {
		p := c.People[i].Policy()
		known := k.known(p, company, now)
		slices.Sort(known)
		out[p.Name] = known
	}
	return out
}

// known are the fingerprints of a person's keys that are trusted or kept, and neither
// revoked nor expired.
func (k *keys) known(p *policy.Person, company *openpgp.Authority, now time.Time) []string {
	if k.book == nil {
		return append(k.alive(p, append(slices.Clone(p.OpenPGP), company.Certified(p, now)...), now), p.OTR...)
	}
	var pgp, other []string
	for _, key := range k.book.List(p.Name) {
		switch {
		case key.State != e2ee.KeyTrusted && key.State != e2ee.KeyKept:
		case key.Kind == e2ee.KeyOpenPGP:
			pgp = append(pgp, key.Fingerprint)
		default:
			other = append(other, key.Fingerprint)
		}
	}
	return append(k.alive(p, pgp, now), other...)
}

// alive takes the OpenPGP keys out that are revoked or expired.
func (k *keys) alive(p *policy.Person, fprs []string, now time.Time) []string {
	asked := *p
	asked.OpenPGP = fprs
	out := slices.Clone(fprs)
	for _, err := range k.ring.Check([]*policy.Person{&asked}, now) {
		var bad *openpgp.KeyError
		if errors.As(err, &bad) && (errors.Is(err, e2ee.ErrKeyRevoked) || errors.Is(err, e2ee.ErrKeyExpired)) {
			out = slices.DeleteFunc(out, func(fpr string) bool { return fpr == bad.Fingerprint })
		}
	}
	return out
}

// proven is a person with the keys that prove them now: of OpenPGP those that are
// neither revoked nor expired, of both kinds those that the book of keys trusts. Who had
// keys, of their own or by the company's word, and has none left, is Gone.
func (k *keys) proven(p *policy.Person, company *openpgp.Authority, now time.Time) *policy.Person {
	out := *p
	live, dead := false, company.Lapsed(p, now) != ""
	if k.book != nil {
		out.OpenPGP, out.OTR = nil, nil
		for _, key := range k.book.List(p.Name) {
			live, dead = live || key.State == e2ee.KeyKept, dead || key.State == e2ee.KeyRevoked
			switch {
			case key.State != e2ee.KeyTrusted:
			case key.Kind == e2ee.KeyOTR:
				out.OTR = append(out.OTR, key.Fingerprint)
			default:
				out.OpenPGP = append(out.OpenPGP, key.Fingerprint)
			}
		}
	} else {
		out.OpenPGP = append(slices.Clone(p.OpenPGP), company.Certified(p, now)...)
	}
	had := len(out.OpenPGP)
	out.OpenPGP = k.alive(p, out.OpenPGP, now)
	dead = dead || len(out.OpenPGP) < had
	out.Gone = dead && !live && len(out.OpenPGP)+len(out.OTR) == 0
	out.Certified = company.Addresses(out.OpenPGP, now)
	return &out
}
