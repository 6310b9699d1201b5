package ox

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/e2ee/e2eetest"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/openpgp"
)

const (
	botJID   = "bot@example.org"
	aliceJID = "alice@example.org"
)

// key is a key of our own making.
type key struct {
	*openpgp.Generated
	secret *openpgp.Secret
}

var madeKeys = sync.OnceValues(func() (map[string]key, error) {
	out := map[string]key{}
	for _, name := range []string{"bot", "alice", "mallory"} {
		g, err := openpgp.Generate("", name+"@example.org", nil, openpgp.NoExpiry, time.Now().Add(-time.Minute))
		if err != nil {
			return nil, err
		}
		s, err := openpgp.ParseSecret(g.Secret, nil, time.Now())
		if err != nil {
			return nil, err
		}
		out[name] = key{g, s}
	}
	return out, nil
})

func ourKey(t testing.TB, name string) key {
	t.Helper()
	keys, err := madeKeys()
	if err != nil {
		t.Fatal(err)
	}
	return keys[name]
}

func ring(t testing.TB, keys ...[]byte) *openpgp.Keyring {
	t.Helper()
	dir := t.TempDir()
	for i, k := range keys {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.asc", i)), k, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := openpgp.NewKeyring([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newScheme(secret *openpgp.Secret, keys *openpgp.Keyring, deps Deps) *Scheme {
	pgp := openpgp.New(openpgp.Config{Account: "acc", Secret: secret, Keyring: keys}, openpgp.Deps{Now: deps.Now})
	return New(Config{Account: "acc", Codec: pgp.Codec(), Keyring: keys}, deps)
}

// seen is how self sees somebody.
func seen(self, bare string, fprs ...string) e2ee.Peer {
	name, _, _ := strings.Cut(bare, "@")
	return e2ee.Peer{Account: "acc", Self: self, Bare: bare, Person: &policy.Person{Name: name, JIDs: []string{bare}, OpenPGP: fprs}}
}

// pair returns the bot's scheme and alice's, and how each sees the other.
func pair(t testing.TB, deps Deps) (bot, alice *Scheme, toAlice, toBot e2ee.Peer) {
	t.Helper()
	b, a, m := ourKey(t, "bot"), ourKey(t, "alice"), ourKey(t, "mallory")
	keys := ring(t, b.Public, a.Public, m.Public)
	return newScheme(b.secret, keys, deps), newScheme(a.secret, keys, Deps{Now: deps.Now}),
		seen(botJID, aliceJID, a.Fingerprint), seen(aliceJID, botJID, b.Fingerprint)
}

func TestConformance(t *testing.T) {
	e2eetest.Run(t, e2eetest.Harness{
		Ends: func(t testing.TB) (a, b e2eetest.End) {
			bot, alice, toAlice, toBot := pair(t, Deps{})
			return e2eetest.End{Scheme: bot, Peer: toAlice}, e2eetest.End{Scheme: alice, Peer: toBot}
		},
		Keyless: func(t testing.TB) (e2ee.Scheme, e2ee.Peer) {
			bot, _, _, _ := pair(t, Deps{})
			return bot, seen(botJID, aliceJID, strings.Repeat("A", 40))
		},
		Body: func(o e2ee.Opened) string { return o.Reveal() },
	})
}

// made encrypts whatever XML to the bot, as a client of the codec's key might.
func made(t testing.TB, from *Scheme, to e2ee.Peer, unsigned bool, xml string) e2ee.Incoming {
	t.Helper()
	var text string
	_, err := from.codec.Encrypt(to, unsigned,
		func(dst []byte) []byte { return append(dst, xml...) },
		func(msg []byte) { text = base64.StdEncoding.EncodeToString(msg) })
	if err != nil {
		t.Fatal(err)
	}
	return incoming(text, "")
}

func incoming(text, id string) e2ee.Incoming {
	return e2ee.Incoming{
		Body: "look here", ID: id, Stamp: time.Now(),
		Children: []*element.Element{element.New(NS, "openpgp").SetText(text)},
	}
}

// open opens what came from alice.
func open(s *Scheme, p e2ee.Peer, in e2ee.Incoming) (e2ee.Opened, error) {
	return s.Open(context.Background(), p, in)
}

func stamp(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

func content(to, stamp, payload string) string {
	return `<signcrypt xmlns='urn:xmpp:openpgp:0'><to jid='` + to + `'/><time stamp='` + stamp + `'/><rpad>x</rpad><payload>` + payload + `</payload></signcrypt>`
}

const hello = `<body xmlns='jabber:client'>hello</body>`

func TestOpen(t *testing.T) {
	bot, alice, fromAlice, toBot := pair(t, Deps{})
	now := stamp(0)
	for _, tt := range []struct {
		name, xml string
		unsigned  bool
		body      string // what comes out; "" with err nil: silent
		err       error
	}{
		{name: "as Gajim writes it", xml: content(botJID, now, hello), body: "hello"},
		{name: "profanity's time", xml: content(botJID, time.Now().UTC().Format("2006-01-02T15:04:05-0700"), hello), body: "hello"},
		{name: "a time with fractions", xml: content(botJID, time.Now().Format("2006-01-02T15:04:05.000-07:00"), hello), body: "hello"},
		{name: "jabber:server", xml: content(botJID, now, `<body xmlns='jabber:server'>hello</body>`), body: "hello"},
		{name: "a resource, other letters", xml: content("BOT@Example.org/home", now, hello), body: "hello"},
		{name: "two recipients", xml: strings.Replace(content(botJID, now, hello), "<to", "<to jid='bob@example.org'/><to", 1), body: "hello"},
		{name: "white space around", xml: "\n " + content(botJID, now, hello) + "\n", body: "hello"},
		{name: "escapes", xml: content(botJID, now, `<body xmlns='jabber:client'>a &lt;b&gt; &amp; &#x2603;`+"\r\n"+`c</body>`), body: "a <b> & ☃\nc"},
		{name: "a chat state alone", xml: content(botJID, now, `<composing xmlns='http://jabber.org/protocol/chatstates'/>`)},
		{name: "an empty payload", xml: content(botJID, now, "")},
		{name: "an empty body", xml: content(botJID, now, `<body xmlns='jabber:client'/>`)},
		{name: "a body of nobody's", xml: content(botJID, now, `<body xmlns='urn:x'>hello</body>`)},

		{name: "not signed", xml: content(botJID, now, hello), unsigned: true, err: e2ee.ErrSignature},
		{name: "to somebody else", xml: content("bob@example.org", now, hello), err: e2ee.ErrSignature},
		{name: "to nobody", xml: content("", now, hello), err: e2ee.ErrSignature},
		{name: "without to", xml: strings.Replace(content(botJID, now, hello), "<to jid='"+botJID+"'/>", "", 1), err: e2ee.ErrMalformed},
		{name: "without time", xml: strings.Replace(content(botJID, now, hello), "<time stamp='"+now+"'/>", "", 1), err: e2ee.ErrMalformed},
		{name: "two times", xml: strings.Replace(content(botJID, now, hello), "<rpad>", "<time stamp='"+now+"'/><rpad>", 1), err: e2ee.ErrMalformed},
		{name: "no date", xml: content(botJID, "yesterday", hello), err: e2ee.ErrMalformed},
		{name: "of the day before yesterday", xml: content(botJID, stamp(-48*time.Hour), hello), err: e2ee.ErrReplay},
		{name: "of the day after tomorrow", xml: content(botJID, stamp(48*time.Hour), hello), err: e2ee.ErrMalformed},
		{name: "two payloads", xml: strings.Replace(content(botJID, now, hello), "<rpad>", "<payload/><rpad>", 1), err: e2ee.ErrMalformed},
		{name: "crypt", xml: strings.ReplaceAll(content(botJID, now, hello), "signcrypt", "crypt"), err: e2ee.ErrSignature},
		{name: "sign", xml: strings.ReplaceAll(content(botJID, now, hello), "signcrypt", "sign"), err: e2ee.ErrSignature},
		{name: "another namespace", xml: strings.Replace(content(botJID, now, hello), NS, "urn:x", 1), err: e2ee.ErrMalformed},
		{name: "text", xml: "hello", err: e2ee.ErrMalformed},
		{name: "two elements", xml: content(botJID, now, hello) + content(botJID, now, hello), err: e2ee.ErrMalformed},
		{name: "an entity", xml: content(botJID, now, "<body xmlns='jabber:client'>&boom;</body>"), err: e2ee.ErrMalformed},
		{name: "too deep", xml: content(botJID, now, strings.Repeat("<a>", 20)+strings.Repeat("</a>", 20)), err: e2ee.ErrTooLarge},
		{name: "too many inside", xml: content(botJID, now, strings.Repeat("<a/>", 40)), err: e2ee.ErrTooLarge},
		{name: "OTR inside", xml: content(botJID, now, `<body xmlns='jabber:client'>?OTRv23?</body>`), err: e2ee.ErrNested},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := open(bot, fromAlice, made(t, alice, toBot, tt.unsigned, tt.xml))
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("Open: %v, want %v", err, tt.err)
			}
			if err != nil {
				if strings.Contains(err.Error(), "hello") {
					t.Errorf("the error quotes the text: %v", err)
				}
				return
			}
			if got.Reveal() != tt.body || got.Silent != (tt.body == "") {
				t.Errorf("opened %q, silent %v; want %q", got.Reveal(), got.Silent, tt.body)
			}
			if got.Rung != policy.Verified || got.Fingerprint != ourKey(t, "alice").Fingerprint {
				t.Errorf("rung %v by %q", got.Rung, got.Fingerprint)
			}
			if got.Signed.IsZero() {
				t.Error("not known when it was signed")
			}
		})
	}
}

func TestSignerMustCount(t *testing.T) {
	bot, alice, fromAlice, toBot := pair(t, Deps{})
	mallory := newScheme(ourKey(t, "mallory").secret, ring(t, ourKey(t, "bot").Public), Deps{})
	msg := made(t, mallory, toBot, false, content(botJID, stamp(0), hello))
	if _, err := open(bot, fromAlice, msg); !errors.Is(err, e2ee.ErrKeyChanged) {
		t.Errorf("signed by another key of the keyring: %v", err)
	}
	nobody := seen(botJID, aliceJID)
	msg = made(t, alice, toBot, false, content(botJID, stamp(0), hello))
	if _, err := open(bot, nobody, msg); !errors.Is(err, e2ee.ErrSignature) {
		t.Errorf("signed by a key that nobody has named: %v", err)
	}
	// Two people of the house: each by an own key.
	carol := seen(botJID, "carol@example.org", ourKey(t, "mallory").Fingerprint)
	if _, err := open(bot, carol, msg); !errors.Is(err, e2ee.ErrKeyChanged) {
		t.Errorf("alice's words from carol's address: %v", err)
	}
	if _, err := open(bot, fromAlice, msg); err != nil {
		t.Errorf("from alice herself: %v", err)
	}
}

// TestHeldBack: a message that its server kept for two days is one of two days ago,
// and what claims to be of today is not.
func TestHeldBack(t *testing.T) {
	bot, alice, fromAlice, toBot := pair(t, Deps{})
	old := content(botJID, stamp(-48*time.Hour), hello)
	in := made(t, alice, toBot, false, old)
	in.Delayed, in.Stamp = true, time.Now().Add(-47*time.Hour)
	if _, err := open(bot, fromAlice, in); err != nil {
		t.Errorf("kept by the server, and it says so: %v", err)
	}
	in = made(t, alice, toBot, false, old)
	in.Delayed, in.Stamp = true, time.Now().Add(-10*time.Hour)
	if _, err := open(bot, fromAlice, in); !errors.Is(err, e2ee.ErrReplay) {
		t.Errorf("kept longer than the server says: %v", err)
	}
	in = made(t, alice, toBot, false, content(botJID, stamp(-40*24*time.Hour), hello))
	in.Delayed, in.Stamp = true, time.Now().Add(-40*24*time.Hour)
	if _, err := open(bot, fromAlice, in); !errors.Is(err, e2ee.ErrReplay) {
		t.Errorf("older than replays are remembered: %v", err)
	}
}

func TestSeal(t *testing.T) {
	bot, alice, toAlice, toBot := pair(t, Deps{})
	request := element.New("urn:xmpp:receipts", "request")
	out, err := bot.SealWith(t.Context(), toAlice, e2eetest.Text("a <b> & c"), request)
	if err != nil {
		t.Fatal(err)
	}
	if out.Body != fallback || out.EME != NS || !out.Store || len(out.Children) != 1 || !out.Children[0].Is(NS, "openpgp") {
		t.Fatalf("payload %+v", out)
	}
	if _, err := base64.StdEncoding.DecodeString(out.Children[0].Text); err != nil {
		t.Errorf("not the base64 of RFC 4648: %v", err)
	}
	var xml string
	err = alice.codec.Decrypt(toBot,
		func(dst []byte) ([]byte, error) { return decode(dst, e2ee.Incoming{Children: out.Children}) },
		func(m *openpgp.Message) error { xml = string(m.Data); return nil })
	if err != nil {
		t.Fatal(err)
	}
	sc, err := parseSignCrypt([]byte(xml))
	if err != nil {
		t.Fatal(err)
	}
	if len(sc.to) != 1 || sc.to[0] != aliceJID || time.Since(sc.time) > time.Minute || !strings.Contains(xml, "Z'/>") && !strings.Contains(xml, `Z"/>`) {
		t.Errorf("to %q at %v: %s", sc.to, sc.time, xml)
	}
	got, err := alice.Open(t.Context(), toBot, e2ee.Incoming{Children: out.Children, Stamp: time.Now()})
	if err != nil || got.Reveal() != "a <b> & c" || len(got.Inside) != 1 || !got.Inside[0].Is("urn:xmpp:receipts", "request") {
		t.Errorf("opened %q with %d inside, %v", got.Reveal(), len(got.Inside), err)
	}

	// A receipt has no text, so nobody is told of one.
	out, err = bot.SealWith(t.Context(), toAlice, nil, element.New("urn:xmpp:receipts", "received", "id", "x"))
	if err != nil || out.Body != "" || out.Store {
		t.Errorf("receipt: body %q, store %v, %v", out.Body, out.Store, err)
	}
	if got, err = alice.Open(t.Context(), toBot, e2ee.Incoming{Children: out.Children, Stamp: time.Now()}); err != nil || !got.Silent || got.Inside[0].Get("id") != "x" {
		t.Errorf("receipt: %v, silent %v", err, got.Silent)
	}
}

// TestPadding: the same line has many lengths, all within the bounds.
func TestPadding(t *testing.T) {
	bot, _, toAlice, _ := pair(t, Deps{})
	lengths := map[int]bool{}
	for range 100 {
		pad, err := bot.padding()
		if err != nil || len(pad) > maxPad {
			t.Fatalf("%d characters, %v", len(pad), err)
		}
		lengths[len(pad)] = true
	}
	if len(lengths) < 20 {
		t.Errorf("only %d lengths in 100", len(lengths))
	}
	bot.rand = strings.NewReader("short")
	if _, err := bot.Seal(t.Context(), toAlice, e2eetest.Text("x")); err == nil {
		t.Error("sealed without random bytes")
	}
}

// TestAllKeysOfAPerson: whoever has two clients with a key each reads us in both
// (XEP-0374 §2.3).
func TestAllKeysOfAPerson(t *testing.T) {
	bot, alice, _, _ := pair(t, Deps{})
	b, a, m := ourKey(t, "bot"), ourKey(t, "alice"), ourKey(t, "mallory")
	other := newScheme(m.secret, ring(t, b.Public), Deps{})
	out, err := bot.Seal(t.Context(), seen(botJID, aliceJID, a.Fingerprint, m.Fingerprint), e2eetest.Text("both"))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range []*Scheme{alice, other} {
		got, err := s.Open(t.Context(), seen(aliceJID, botJID, b.Fingerprint), e2ee.Incoming{Children: out.Children, Stamp: time.Now()})
		if err != nil || got.Reveal() != "both" {
			t.Errorf("key %d: %q, %v", i, got.Reveal(), err)
		}
	}
}
