package main

import (
	"slices"
	"strings"
	"time"

	"drawbridge/bridge/move"
	"drawbridge/internal/config"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/openpgp"
)

// Key is what is known of a key that somebody names as theirs: by the book of keys, and of
// OpenPGP by the keyring.
func (w *moveWorld) Key(jid, scheme, fpr string) (move.KeyState, string) {
	person, kind := "", e2ee.KindOf(scheme)
	people := w.people()
	if i := slices.IndexFunc(people, func(p config.Person) bool { return hasJID(p, jid) }); i >= 0 {
		person = people[i].Name
	}
	w.b.mu.Lock()
	k := w.b.keys
	w.b.mu.Unlock()
	state := move.KeyNew
	if kind == e2ee.KeyOpenPGP {
		state = namedKey(k.ring.List(time.Now()), jid, fpr)
	}
	if k.book == nil {
		return state, person
	}
	if w.b.company.isOwn(kind, fpr) {
		return move.KeyOwn, person
	}
	for _, known := range k.book.List() {
		theirs := known.Person == person
		switch {
		case known.Kind != kind || known.Fingerprint != fpr:
		case theirs && known.State == e2ee.KeyRevoked:
			return move.KeyEnded, person
		case theirs && known.State == e2ee.KeyTrusted && state != move.KeyEnded:
			return move.KeyGood, person
		case !theirs && (known.State == e2ee.KeyTrusted || known.State == e2ee.KeyKept):
			return move.KeyOther, person
		}
	}
	return state, person
}

// namedKey is what a key itself says, where the keyring has it: for whom it is made out,
// and whether it can be used. A key that names no Jabber address can be anybody's: an
// admin decides.
func namedKey(ring []openpgp.Info, jid, fpr string) move.KeyState {
	i := slices.IndexFunc(ring, func(i openpgp.Info) bool { return i.Fingerprint == fpr })
	if i < 0 {
		return move.KeyNew
	}
	other := false
	for _, uid := range ring[i].UserIDs {
		named, ok := strings.CutPrefix(strings.ToLower(strings.Trim(uid, "<> ")), "xmpp:")
		if ok && named == jid {
			other = false
			break
		}
		other = other || ok
	}
	switch {
	case other:
		return move.KeyOther
	case ring[i].Unusable != nil:
		return move.KeyEnded
	}
	return move.KeyNew
}

// hasJID reports whether an address is one of a person's.
func hasJID(p config.Person, jid string) bool {
	return slices.ContainsFunc(p.JIDs, func(j string) bool { return strings.EqualFold(j, jid) })
}
