package ox

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// Nodes of XEP-0373 §4.
const (
	nodeKeys  = NS + ":public-keys" // the list of a person's keys
	nodeKey   = nodeKeys + ":"      // one of them, by its fingerprint
	nodeAlert = nodeKeys + "+notify"
)

// Limits of what people publish.
const (
	maxListed = 16       // keys of a list that are looked at
	maxKey    = 96 << 10 // base64 of a key
)

// known is what is known of a contact's client.
type known struct {
	asked bool // their account has answered, or will not
	able  bool // a key that counts is announced, or signed what we got
	told  map[string]bool
}

// ErrUserID is returned by Announce where the key does not say whose it is: Gajim
// and profanity take no such key.
var ErrUserID = errors.New("no user id xmpp:JID")

// Features implements e2ee.Announcer (XEP-0374 §2.1, XEP-0373 §4.5).
func (s *Scheme) Features() []string { return []string{NSIM, nodeAlert} }

// Node implements e2ee.Announcer.
func (s *Scheme) Node() string { return nodeKeys }

// Announce implements e2ee.Announcer: the key first, then the list that names it
// (XEP-0373 §4.2). The error is ErrUserID, or says what is wrong with the key.
func (s *Scheme) Announce(self string) ([]e2ee.Item, error) {
	own := s.codec.Secret()
	if uid := "xmpp:" + self; !own.HasUserID(uid) {
		return nil, fmt.Errorf("ox: announce key %s: %w (%s); hint: `gpg --quick-add-uid %s %s`, and export it again", own.Fingerprint(), ErrUserID, uid, own.Fingerprint(), uid)
	}
	data, changed, err := own.Announced()
	if err != nil {
		return nil, fmt.Errorf("ox: announce key %s: %w", own.Fingerprint(), err)
	}
	date := changed.UTC().Format(time.RFC3339)
	return []e2ee.Item{
		{Node: nodeKey + own.Fingerprint(), ID: date, Payload: element.New(NS, "pubkey").Add(
			element.New(NS, "data").SetText(base64.StdEncoding.EncodeToString(data)))},
		{Node: nodeKeys, ID: "current", Payload: element.New(NS, "public-keys-list").Add(
			element.New(NS, "pubkey-metadata", "v4-fingerprint", own.Fingerprint(), "date", date))},
	}, nil
}

// Ability implements e2ee.Announcer.
func (s *Scheme) Ability(p e2ee.Peer) e2ee.Ability {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch k := s.peers[p.Bare]; {
	case k == nil:
		return e2ee.Unasked
	case k.able:
		return e2ee.Able
	case k.asked:
		return e2ee.Unable
	}
	return e2ee.Unasked
}

// met notes that the peer writes OX.
func (s *Scheme) met(p e2ee.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peer(p.Bare).able = true
}

// peer returns what is known of a contact; s.mu is held. There are as many as
// people in the config.
func (s *Scheme) peer(bare string) *known {
	k := s.peers[bare]
	if k == nil {
		k = &known{told: make(map[string]bool)}
		s.peers[bare] = k
	}
	return k
}

// Take implements e2ee.Announcer. A key that is announced and does not count is told
// to Trust, and not fetched; one that counts is, and added to what the keyring has
// of it: so a renewal or a revocation comes by itself, and never a new key.
func (s *Scheme) Take(p e2ee.Peer, node string, item *element.Element, err error) (next []string, changed bool) {
	if fpr, ok := strings.CutPrefix(node, nodeKey); ok {
		return nil, err == nil && s.takeKey(p, fpr, item)
	}
	var listed []string
	if err == nil {
		listed = parseList(item)
	}
	able := false
	for _, fpr := range listed {
		if s.firstTold(p, fpr) {
			_, _ = s.codec.Trust().Meet(p, e2ee.KeyOpenPGP, fpr) // what it says, Keys says below
		}
	}
	for _, k := range s.codec.Trust().Keys(p, e2ee.KeyOpenPGP) {
		if slices.Contains(listed, k.Fingerprint) {
			able = true
			if s.keyring != nil {
				next = append(next, nodeKey+k.Fingerprint)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.peer(p.Bare)
	changed = !k.asked || able && !k.able
	k.asked, k.able = true, k.able || able
	return next, changed
}

// firstTold reports whether a key of the peer is met for the first time.
func (s *Scheme) firstTold(p e2ee.Peer, fpr string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.peer(p.Bare)
	if k.told[fpr] {
		return false
	}
	if len(k.told) >= 4*maxListed {
		clear(k.told)
	}
	k.told[fpr] = true
	return true
}

// takeKey adds a published key to the keyring, and reports whether that has more or
// other signatures now.
func (s *Scheme) takeKey(p e2ee.Peer, fpr string, item *element.Element) bool {
	counts := slices.ContainsFunc(s.codec.Trust().Keys(p, e2ee.KeyOpenPGP), func(k e2ee.Key) bool { return k.Fingerprint == fpr })
	if !counts || s.keyring == nil {
		return false
	}
	data, err := parseKey(item)
	if err != nil {
		return false
	}
	changed, err := s.keyring.Learn(data, fpr, s.now())
	switch {
	case err != nil:
		s.log.Warn("published key not taken", "leg", s.account, "from", p.Bare, "fpr", fpr, "err", err)
	case changed:
		s.log.Info("published key taken", "leg", s.account, "from", p.Bare, "fpr", fpr)
	}
	return changed
}

// parseList returns the fingerprints in an item of the list, maxListed at most; nil
// for what is none.
func parseList(item *element.Element) []string {
	l := item.Child(NS, "public-keys-list")
	if l == nil {
		return nil
	}
	var out []string
	for _, c := range l.Children {
		fpr, ok := e2ee.ParseFingerprint(c.Get("v4-fingerprint"))
		if ok && c.Is(NS, "pubkey-metadata") && !slices.Contains(out, fpr) && len(out) < maxListed {
			out = append(out, fpr)
		}
	}
	return out
}

// parseKey returns the binary key in an item of a key node.
func parseKey(item *element.Element) ([]byte, error) {
	text := item.Child(NS, "pubkey").Child(NS, "data")
	switch {
	case text == nil:
		return nil, fmt.Errorf("%w: no <pubkey/>", e2ee.ErrMalformed)
	case len(text.Text) > maxKey:
		return nil, fmt.Errorf("%w: %d KiB of key", e2ee.ErrTooLarge, len(text.Text)>>10)
	}
	return decodeBase64(nil, text.Text)
}
