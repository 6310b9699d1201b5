package ox

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/e2ee/e2eetest"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/openpgp"
)

const nsPubSub = "http://jabber.org/protocol/pubsub"

// item is how a server hands out what was published.
func item(payload *element.Element) *element.Element {
	return element.New(nsPubSub, "item", "id", "current").Add(payload)
}

// TestAnnounceAndTake: who has only our fingerprint has our key by what we publish,
// and we theirs.
func TestAnnounceAndTake(t *testing.T) {
	b, a := ourKey(t, "bot"), ourKey(t, "alice")
	botRing, aliceRing := ring(t, b.Public), ring(t, a.Public)
	bot, alice := newScheme(b.secret, botRing, Deps{}), newScheme(a.secret, aliceRing, Deps{})
	fromAlice, toBot := seen(botJID, aliceJID, a.Fingerprint), seen(aliceJID, botJID, b.Fingerprint)
	if _, err := bot.Reach(fromAlice); !errors.Is(err, e2ee.ErrNoKey) {
		t.Fatalf("before: %v", err)
	}
	if bot.Ability(fromAlice) != e2ee.Unasked {
		t.Error("something is known of alice already")
	}
	items, err := alice.Announce(aliceJID)
	if err != nil || len(items) != 2 || items[0].Node != nodeKeys+":"+a.Fingerprint || items[1].Node != nodeKeys {
		t.Fatalf("%+v, %v: the key must come first", items, err)
	}
	next, changed := bot.Take(fromAlice, nodeKeys, item(items[1].Payload), nil)
	if !slices.Equal(next, []string{items[0].Node}) || !changed || bot.Ability(fromAlice) != e2ee.Able {
		t.Fatalf("list: next %q, changed %v", next, changed)
	}
	if next, changed = bot.Take(fromAlice, items[0].Node, item(items[0].Payload), nil); len(next) > 0 || !changed {
		t.Fatalf("key: next %q, changed %v", next, changed)
	}
	if rung, err := bot.Reach(fromAlice); err != nil || rung != policy.Verified {
		t.Errorf("after: %v, %v", rung, err)
	}
	if _, changed = bot.Take(fromAlice, items[0].Node, item(items[0].Payload), nil); changed {
		t.Error("the same key again is news")
	}
	// And back, to talk.
	items, err = bot.Announce(botJID)
	if err != nil {
		t.Fatal(err)
	}
	alice.Take(toBot, nodeKeys, item(items[1].Payload), nil)
	alice.Take(toBot, items[0].Node, item(items[0].Payload), nil)
	out, err := bot.Seal(t.Context(), fromAlice, e2eetest.Text("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := alice.Open(t.Context(), toBot, incoming(out.Children[0].Text, "")); err != nil || got.Reveal() != "hello" {
		t.Errorf("%q, %v", got.Reveal(), err)
	}
}

// TestOnlyKeysThatCount are fetched: an account that announces another key brings
// nothing into the keyring.
func TestOnlyKeysThatCount(t *testing.T) {
	b, a, m := ourKey(t, "bot"), ourKey(t, "alice"), ourKey(t, "mallory")
	keys := ring(t, b.Public)
	bot := newScheme(b.secret, keys, Deps{})
	p := seen(botJID, aliceJID, a.Fingerprint)
	mallory := newScheme(m.secret, keys, Deps{})
	items, err := mallory.Announce("mallory@example.org")
	if err != nil {
		t.Fatal(err)
	}
	if next, _ := bot.Take(p, nodeKeys, item(items[1].Payload), nil); len(next) > 0 {
		t.Errorf("asks for %q", next)
	}
	if bot.Ability(p) != e2ee.Unable {
		t.Error("a key that does not count says that alice reads us")
	}
	if _, changed := bot.Take(p, items[0].Node, item(items[0].Payload), nil); changed || keys.Len() != 1 {
		t.Errorf("taken without being asked for: %d keys", keys.Len())
	}
	// Mallory's key under the name of alice's.
	node := nodeKeys + ":" + a.Fingerprint
	if _, changed := bot.Take(p, node, item(items[0].Payload), nil); changed || keys.Len() != 1 {
		t.Errorf("taken for alice's: %d keys", keys.Len())
	}
}

// TestAnnounceNeedsItsName: Gajim deletes a key that has no user id xmpp:JID.
func TestAnnounceNeedsItsName(t *testing.T) {
	bot, _, _, _ := pair(t, Deps{})
	if _, err := bot.Announce("other@example.org"); !errors.Is(err, ErrUserID) || !strings.Contains(err.Error(), "quick-add-uid") {
		t.Errorf("%v", err)
	}
	g := newGPG(t, "The Bot <xmpp:"+botJID+">", "")
	named, err := openpgp.ParseSecret([]byte(g.run("", "--armor", "--export-secret-keys", g.fpr)), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newScheme(named, ring(t), Deps{}).Announce(botJID); !errors.Is(err, ErrUserID) {
		t.Errorf("a name before the address: %v", err)
	}
	items, err := bot.Announce(botJID)
	if err != nil {
		t.Fatal(err)
	}
	data, err := base64.StdEncoding.DecodeString(items[0].Payload.Child(NS, "data").Text)
	if err != nil {
		t.Fatal(err)
	}
	infos, err := openpgp.Describe(data, time.Now())
	if err != nil || len(infos) != 1 || infos[0].Secret || !slices.Contains(infos[0].UserIDs, "xmpp:"+botJID) {
		t.Errorf("published %+v, %v", infos, err)
	}
	if _, err := time.Parse(time.RFC3339, items[0].ID); err != nil {
		t.Errorf("id of the key's item: %v", err)
	}
}

// TestAbility: what is known of a contact grows, and never shrinks.
func TestAbility(t *testing.T) {
	bot, alice, p, toBot := pair(t, Deps{})
	if _, changed := bot.Take(p, nodeKeys, nil, errors.New("refused: item-not-found")); !changed || bot.Ability(p) != e2ee.Unable {
		t.Errorf("no list: changed %v, ability %v", changed, bot.Ability(p))
	}
	if _, err := open(bot, p, made(t, alice, toBot, true, content(botJID, stamp(0), hello))); err == nil || bot.Ability(p) != e2ee.Unable {
		t.Errorf("an unsigned message proves nothing: %v", bot.Ability(p))
	}
	if _, err := open(bot, p, made(t, alice, toBot, false, content(botJID, stamp(0), hello))); err != nil || bot.Ability(p) != e2ee.Able {
		t.Errorf("a signed one does: %v, %v", bot.Ability(p), err)
	}
	if _, changed := bot.Take(p, nodeKeys, nil, nil); changed || bot.Ability(p) != e2ee.Able {
		t.Errorf("a list that is gone: changed %v, ability %v", changed, bot.Ability(p))
	}
}

func parse(t testing.TB, xml string) *element.Element {
	t.Helper()
	e, err := element.Parse([]byte(xml), element.Scope{}, element.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestParseList(t *testing.T) {
	const a, b = "1357B01865B2503C18453D208CAC2A9678548E35", "67819B343B2AB70DED9320872C6464AF2A8E4C02"
	meta := func(f string) string {
		return "<pubkey-metadata v4-fingerprint='" + f + "' date='2018-03-01T15:26:12Z'/>"
	}
	for _, tt := range []struct {
		name, xml string
		want      []string
	}{
		{"the XEP's own", meta(a) + meta(b), []string{a, b}},
		{"small letters", meta(strings.ToLower(a)), []string{a}},
		{"twice", meta(a) + meta(a), []string{a}},
		{"no fingerprint, a short one", "<pubkey-metadata/>" + meta("8CAC2A9678548E35"), nil},
		{"empty", "", nil},
		{"another namespace", "<pubkey-metadata xmlns='urn:x' v4-fingerprint='" + a + "'/>", nil},
	} {
		got := parseList(item(parse(t, "<public-keys-list xmlns='urn:xmpp:openpgp:0'>"+tt.xml+"</public-keys-list>")))
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
	var many strings.Builder
	for i := range 100 {
		many.WriteString(meta(strings.Repeat("0", 38) + string("0123456789ABCDEF"[i/16]) + string("0123456789ABCDEF"[i%16])))
	}
	if got := parseList(item(parse(t, "<public-keys-list xmlns='urn:xmpp:openpgp:0'>"+many.String()+"</public-keys-list>"))); len(got) != maxListed {
		t.Errorf("%d keys of a hundred", len(got))
	}
	if parseList(nil) != nil || parseList(item(element.New("x", "y"))) != nil {
		t.Error("a list of nothing")
	}
}

func TestParseKey(t *testing.T) {
	for _, tt := range []struct {
		name string
		it   *element.Element
		err  error
	}{
		{"nothing", nil, e2ee.ErrMalformed},
		{"no data", item(element.New(NS, "pubkey")), e2ee.ErrMalformed},
		{"no base64", item(element.New(NS, "pubkey").Add(element.New(NS, "data").SetText("***"))), e2ee.ErrMalformed},
		{"too much", item(element.New(NS, "pubkey").Add(element.New(NS, "data").SetText(strings.Repeat("A", maxKey+4)))), e2ee.ErrTooLarge},
		{"with blanks and lines", item(element.New(NS, "pubkey").Add(element.New(NS, "data").SetText("\n  AAAA\n  AAAA\n"))), nil},
	} {
		if _, err := parseKey(tt.it); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// FuzzSignCrypt reads altered content elements: what is read is bounded, and reads
// the same when it is written again.
func FuzzSignCrypt(f *testing.F) {
	now := "2026-11-22T03:00:00Z"
	f.Add([]byte(content(botJID, now, hello)))
	f.Add([]byte(content(botJID, "2026-11-21T22:09:40+0000", "<composing xmlns='http://jabber.org/protocol/chatstates'/>")))
	f.Add([]byte(strings.ReplaceAll(content(botJID, now, hello), "signcrypt", "crypt")))
	f.Add([]byte("hello"))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := parseSignCrypt(in)
		if err != nil {
			if !errors.Is(err, e2ee.ErrMalformed) && !errors.Is(err, e2ee.ErrTooLarge) && !errors.Is(err, e2ee.ErrSignature) {
				t.Fatalf("an error that nobody decides by: %v", err)
			}
			return
		}
		if len(s.to) == 0 || len(s.to) > maxTo || len(s.payload) > maxInside {
			t.Fatalf("%d recipients, %d inside", len(s.to), len(s.payload))
		}
		body, said := s.body()
		if s.isFor("") {
			t.Fatal("for nobody")
		}
		if y := s.time.UTC().Year(); y < 0 || y > 9999 {
			return // RFC 3339 cannot write it
		}
		again, err := parseSignCrypt(s.appendTo(nil))
		if err != nil {
			if len(in) > 4<<10 {
				return // escaped, it may be too large
			}
			t.Fatalf("no round trip: %v", err)
		}
		if b, ok := again.body(); b != body || ok != said || !slices.Equal(again.to, s.to) {
			t.Fatalf("%q became %q", body, b)
		}
	})
}

// FuzzPEP hands altered items to Take: nothing but the key that counts is asked for
// or taken.
func FuzzPEP(f *testing.F) {
	a := ourKey(f, "alice")
	bot, alice, p, _ := pair(f, Deps{})
	items, err := alice.Announce(aliceJID)
	if err != nil {
		f.Fatal(err)
	}
	for _, it := range items {
		f.Add(it.Node, string(element.AppendXML(nil, item(it.Payload), "")))
	}
	f.Add(nodeKeys, "<item xmlns='"+nsPubSub+"'/>")
	f.Fuzz(func(t *testing.T, node, xml string) {
		e, err := element.Parse([]byte(xml), element.Scope{}, element.Limits{})
		if err != nil {
			return
		}
		next, _ := bot.Take(p, node, e, nil)
		for _, n := range next {
			if n != nodeKeys+":"+a.Fingerprint {
				t.Fatalf("asks for %q", n)
			}
		}
		if _, err := bot.Reach(p); err != nil || bot.keyring.Len() != 3 {
			t.Fatalf("alice's key: %v; %d keys", err, bot.keyring.Len())
		}
	})
}
