package trust

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// What happened.
type What uint8

// The kinds of notices.
const (
	CameBlocked What = iota + 1 // a key came that does not count: its conversation waits
	CameKept                    // a first key came and was kept (TOFU)
	CameFirst                   // a first key came; it is used where sealed is enough
	Accepted
	Revoked
	Hinted       // a client signs its presence with a key that does not count
	SMPSame      // the shared secret was known
	SMPDifferent // it was not, or the run broke off when the peer could have learnt that
	SMPBroken    // the run broke off before anything made of the secret was sent
	SMPClosed    // too many failed: no more until an admin clears it
	SMPCleared
)

func whatOf(s e2ee.KeyState) What {
	if s == e2ee.KeyRevoked {
		return Revoked
	}
	return Accepted
}

// Notice is something people should hear: the person it is about and the admins.
type Notice struct {
	What     What
	Account  string // of the conversation; "" if it is about none
	From     string // full JID of the conversation, for people to read, or ""
	Key      e2ee.Key
	Expected []e2ee.Key // the keys that count: of the same kind, or if there are none, of another
	Who      string     // who decided, or ""
	Again    bool       // it was told before
	Untold   int        // keys of the person that came and were not told of before this one
}

// push adds a notice for Run to tell. b.mu is held.
func (b *Book) push(n Notice) {
	if len(b.notices) < maxNotices {
		b.notices = append(b.notices, n)
	} else {
		b.dropped++
	}
	b.poke()
}

// budget bounds the notices of keys that came of one person.
type budget struct {
	paid   time.Time // the notices so far, noticeEvery each, reach until then
	untold int       // keys since then of which nothing was told
}

// pushKey tells of a key that came, unless of that person too many did. What was told
// is remembered. b.mu is held.
func (b *Book) pushKey(p e2ee.Peer, n Notice, now time.Time) {
	u := b.budgets[n.Key.Person]
	if u == nil {
		u = &budget{}
		b.budgets[n.Key.Person] = u
	}
	if u.paid.Before(now) {
		u.paid = now
	}
	if u.paid.Sub(now) > (noticeBurst-1)*noticeEvery {
		u.untold++
		return
	}
	if len(b.told) >= maxTold {
		maps.DeleteFunc(b.told, func(_ id, at time.Time) bool { return now.Sub(at) >= againEvery })
	}
	b.told[idOf(&n.Key)] = now
	n.Account, n.From, n.Untold = p.Account, shown(fullJID(p)), u.untold
	u.paid, u.untold = u.paid.Add(noticeEvery), 0
	b.log.Warn("key of a person", "leg", p.Account, "from", n.From, "to", n.Key.Person, "scheme", string(n.Key.Kind), "fpr", n.Key.Fingerprint, "rule", n.What.String(), "n", n.Untold)
	b.push(n)
}

// announce tells of a key that came, if it is new, or blocked and not told of for a
// while. b.mu is held.
func (b *Book) announce(p e2ee.Peer, rec *e2ee.Key, fresh bool, rung policy.Rung, err error, now time.Time) {
	last, told := b.told[idOf(rec)]
	if !fresh && (err == nil || rec.State == e2ee.KeyRevoked && told || now.Sub(last) < againEvery) {
		return
	}
	n := Notice{Key: *rec, Again: told || !fresh}
	switch {
	case err != nil:
		n.What, n.Expected = CameBlocked, b.expected(p, rec.Kind)
	case rung == policy.Signed:
		n.What = CameKept
	default:
		n.What = CameFirst
	}
	b.pushKey(p, n, now)
}

// maxShown bounds an address in a notice, in bytes.
const maxShown = 160

// shown is an address for people. Its resource is whatever a client, or its server,
// wants people to read: it is one short line, and seen to be quoted if it is more than
// a name.
func shown(jid string) string {
	bare, res, ok := strings.Cut(jid, "/")
	if !ok || strings.IndexFunc(res, func(r rune) bool {
		return r != '-' && r != '_' && r != '.' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) >= 0 {
		res = strconv.QuoteToGraphic(strings.ToValidUTF8(res, "\ufffd"))
	}
	if !ok {
		return bare
	}
	if full := bare + "/" + res; len(full) <= maxShown {
		return full
	}
	return bare + "/(a long resource)"
}

func fullJID(p e2ee.Peer) string {
	if p.Resource == "" {
		return p.Bare
	}
	return p.Bare + "/" + p.Resource
}

// expected returns the keys of a kind that count for a peer; without any, those of
// other kinds. b.mu is held.
func (b *Book) expected(p e2ee.Peer, kind e2ee.KeyKind) []e2ee.Key {
	var same, other []e2ee.Key
	for _, of := range e2ee.KeyKinds() {
		for _, k := range b.all(p.Person, of, p.Account) {
			switch {
			case k.Rung == policy.Clear:
			case of == kind:
				same = append(same, k)
			default:
				other = append(other, k)
			}
		}
	}
	if same != nil {
		return same
	}
	return other
}

var whatNames = map[What]string{
	CameBlocked: "blocked", CameKept: "kept", CameFirst: "first", Accepted: "accepted", Revoked: "revoked", Hinted: "hinted",
	SMPSame: "secret known", SMPDifferent: "secret not known", SMPBroken: "not compared", SMPClosed: "too many tries", SMPCleared: "cleared",
}

// String names it for logs.
func (w What) String() string { return whatNames[w] }

// KindName is what people call a kind of keys.
func KindName(kind e2ee.KeyKind) string {
	if kind == e2ee.KeyOTR {
		return "OTR"
	}
	return "OpenPGP"
}

// ForAdmins is the notice as the admins hear it, "" if they need not.
func (n Notice) ForAdmins() string {
	if n.Untold > 0 {
		return n.forAdmins() + fmt.Sprintf(" (Before it %d more keys of %s came that were not told of: drawbridge trust list %s)", n.Untold, n.Key.Person, n.Key.Person)
	}
	return n.forAdmins()
}

func (n Notice) forAdmins() string {
	who, key := n.Key.Person, fmt.Sprintf("%s key %s", KindName(n.Key.Kind), Spaced(n.Key.Fingerprint))
	switch n.What {
	case CameBlocked:
		text := fmt.Sprintf("%s came with a key that is not accepted. %sCame: %s, at %s. This conversation waits, others go on.", who, n.expecting(), key, n.From)
		if n.Again {
			text = "Still: " + text
		}
		if n.Key.State == e2ee.KeyRevoked {
			return text + " It was revoked."
		}
		return text + fmt.Sprintf(" Ask %s by another way whether it is theirs; then: !trust accept %s %s", who, who, n.Key.Fingerprint)
	case CameKept:
		return fmt.Sprintf("%s came with a first %s, at %s. It was kept, as the bridge trusts on first use. To undo: !trust revoke %s %s", who, key, n.From, who, n.Key.Fingerprint)
	case CameFirst:
		return fmt.Sprintf("%s came with a first %s, at %s. Nobody has checked it: it is used only where sealed is enough. If it is theirs: !trust accept %s %s", who, key, n.From, who, n.Key.Fingerprint)
	case Accepted:
		return fmt.Sprintf("%s of %s was accepted by %s.", key, who, n.Who)
	case Revoked:
		return fmt.Sprintf("%s of %s was revoked by %s: nothing is taken from it or sealed to it any more.", key, who, n.Who)
	case Hinted:
		return fmt.Sprintf("The client of %s at %s signs its presence with another key. %sCame: %s. Lines are sealed to the expected key as before; who has not got that key cannot read them. If the new one is theirs: drawbridge keys import FILE, then !trust accept %s %s", who, n.From, n.expecting(), key, who, n.Key.Fingerprint)
	case SMPSame:
		return fmt.Sprintf("%s knew the shared secret: %s is verified.", who, key)
	case SMPDifferent:
		return fmt.Sprintf("A try with the shared secret did not succeed for %s: nothing has changed.", who)
	case SMPBroken:
		return fmt.Sprintf("A try with the shared secret broke off for %s before anything was compared: it does not count.", who)
	case SMPClosed:
		return fmt.Sprintf("Too many tries with the shared secret did not succeed for %s: there are no more until an admin clears it: drawbridge trust clear %s", who, who)
	case SMPCleared:
		return fmt.Sprintf("%s cleared the tries with the shared secret of %s.", n.Who, who)
	}
	return ""
}

// ForPerson is the notice as the person hears it, in those of their conversations
// that work, "" if they need not.
func (n Notice) ForPerson() string {
	key := fmt.Sprintf("%s key %s", KindName(n.Key.Kind), Spaced(n.Key.Fingerprint))
	switch n.What {
	case CameBlocked:
		text := fmt.Sprintf("Somebody wrote as you from %s with a key that is not accepted. %sCame: %s. That conversation waits, this one goes on.", n.From, n.expecting(), key)
		if n.Key.State == e2ee.KeyRevoked {
			return text + " It was revoked."
		}
		return text + fmt.Sprintf(" If it is yours, write here, from a device that is verified: !trust add %s. If not, tell an admin.", n.Key.Fingerprint)
	case CameKept:
		return fmt.Sprintf("Your %s was seen for the first time and is kept. If it is not yours, tell an admin.", key)
	case CameFirst:
		return fmt.Sprintf("Your %s was seen for the first time. An admin can accept it.", key)
	case Accepted:
		return fmt.Sprintf("Your %s is accepted now.", key)
	case Revoked:
		return fmt.Sprintf("Your %s is not used any more. Ask an admin.", key)
	case Hinted:
		return fmt.Sprintf("Your client at %s signs its presence with another key. %sCame: %s. If it is yours, write here, signed by the expected key: !trust add %s. If not, tell an admin.", n.From, n.expecting(), key, n.Key.Fingerprint)
	case SMPSame:
		return "The shared secret was the same."
	case SMPDifferent:
		return "The shared secret was not compared to an end, or was not the same. Nothing has changed."
	case SMPBroken:
		return "The shared secret was not compared: the try broke off, and does not count."
	case SMPClosed:
		return "The shared secret cannot be tried any more. Ask an admin."
	}
	return ""
}

// expecting says which keys count.
func (n Notice) expecting() string {
	if len(n.Expected) == 0 {
		return ""
	}
	var names []string
	for i, k := range n.Expected {
		if i == 4 {
			names = append(names, fmt.Sprintf("%d more", len(n.Expected)-i))
			break
		}
		names = append(names, KindName(k.Kind)+" "+Spaced(k.Fingerprint))
	}
	return "Expected: " + strings.Join(names, ", or ") + ". "
}

// Spaced writes a fingerprint in five groups of eight, as OTR clients show it.
func Spaced(fpr string) string {
	var parts []string
	for len(fpr) > 8 {
		parts, fpr = append(parts, fpr[:8]), fpr[8:]
	}
	return strings.Join(append(parts, fpr), " ")
}
