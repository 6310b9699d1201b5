package openpgp

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/e2ee/e2eetest"
	"drawbridge/xmpp/element"
)

func TestConformance(t *testing.T) {
	for _, unsigned := range []bool{false, true} {
		t.Run(fmt.Sprintf("unsigned=%v", unsigned), func(t *testing.T) {
			e2eetest.Run(t, e2eetest.Harness{
				Ends: func(t testing.TB) (a, b e2eetest.End) {
					bot, alice := ourKey(t, "bot"), ourKey(t, "alice")
					keys, _ := ring(t, bot.Public, alice.Public)
					a.Scheme = New(Config{Secret: bot.secret, Keyring: keys, Unsigned: unsigned}, Deps{})
					b.Scheme = New(Config{Secret: alice.secret, Keyring: keys, Unsigned: unsigned}, Deps{})
					a.Peer, b.Peer = person("alice", false, alice.Fingerprint), person("bot", false, bot.Fingerprint)
					return a, b
				},
				Keyless: func(t testing.TB) (e2ee.Scheme, e2ee.Peer) {
					bot := ourKey(t, "bot")
					keys, _ := ring(t, bot.Public)
					return New(Config{Secret: bot.secret, Keyring: keys}, Deps{}), person("alice", false, strings.Repeat("A", 40))
				},
				Body: func(o e2ee.Opened) string { return o.Reveal() },
			})
		})
	}
}

// pair returns the bot's scheme and a person's, and how each sees the other.
func pair(t testing.TB, deps Deps) (bot, alice *Scheme, toAlice, toBot e2ee.Peer) {
	b, a := ourKey(t, "bot"), ourKey(t, "alice")
	keys, _ := ring(t, b.Public, a.Public)
	return New(Config{Account: "acc", Secret: b.secret, Keyring: keys}, deps),
		New(Config{Secret: a.secret, Keyring: keys}, Deps{}),
		person("alice", false, a.Fingerprint), person("bot", false, b.Fingerprint)
}

func TestPayload(t *testing.T) {
	bot, _, p, _ := pair(t, Deps{})
	out, err := bot.Seal(context.Background(), p, plain("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Children) != 1 || !out.Children[0].Is("jabber:x:encrypted", "x") || out.EME != "jabber:x:encrypted" || !out.Store || out.NoCopy {
		t.Errorf("payload %+v", out)
	}
	if out.Body != "This message is encrypted (XEP-0027)." {
		t.Errorf("fallback body %q", out.Body)
	}
	// What all five clients read: base64 at 64 columns, a checksum line, no more.
	lines := strings.Split(out.Children[0].Text, "\n")
	for i, l := range lines {
		switch {
		case i == len(lines)-1 && (len(l) != 5 || l[0] != '='):
			t.Errorf("last line %q is no checksum", l)
		case i < len(lines)-2 && len(l) != 64, len(l) > 64, l == "", strings.ContainsAny(l, ": -\r"):
			t.Errorf("line %d: %q", i, l)
		}
	}
}

// TestSealedToOneSubkey looks at the packets: one recipient, no key of our own,
// version 3 and 1 of the packets, nothing else outside.
func TestSealedToOneSubkey(t *testing.T) {
	bot, alice, p, _ := pair(t, Deps{})
	data, err := decodeArmor(nil, sealed(t, bot, p, "hello"))
	if err != nil {
		t.Fatal(err)
	}
	first, rest, err := nextPacket(data)
	if err != nil || first.tag != tagSessionKey || first.body[0] != 3 {
		t.Fatalf("first packet %d, %v", first.tag, err)
	}
	if hidden, ours := forUs(first.body, alice.Secret()); hidden || !ours {
		t.Error("not sealed to the person's subkey")
	}
	second, rest, err := nextPacket(rest)
	if err != nil || second.tag != tagProtected || second.body[0] != 1 || len(rest) != 0 {
		t.Errorf("second packet %d, %d bytes after it, %v", second.tag, len(rest), err)
	}
}

func TestRungs(t *testing.T) {
	bot, alice, p, toBot := pair(t, Deps{})
	unpinned := p
	unpinned.Person = &policy.Person{Name: "alice"}
	msg := sealed(t, alice, toBot, "signed")
	alice.unsigned = true
	bare := sealed(t, alice, toBot, "bare")
	for _, tt := range []struct {
		name, armor string
		peer        e2ee.Peer
		rung        policy.Rung
	}{
		{"signed by the pinned key", msg, p, policy.Verified},
		{"unsigned is sealed whatever is pinned", bare, p, policy.Sealed},
		{"signed, nothing pinned to check it with", msg, unpinned, policy.Sealed},
		{"unsigned, nothing pinned", bare, e2ee.Peer{Bare: "x@y"}, policy.Sealed},
	} {
		bot.replay = e2ee.NewReplayCache(0, 0)
		got, err := open(bot, tt.peer, tt.armor, "1")
		if err != nil || got.Rung != tt.rung || (got.Fingerprint != "") != (tt.rung == policy.Verified) || got.Signed.IsZero() == (tt.rung == policy.Verified) {
			t.Errorf("%s: rung %v, key %q, %v", tt.name, got.Rung, got.Fingerprint, err)
		}
	}
}

func TestWrongRecipient(t *testing.T) {
	bot, alice, p, _ := pair(t, Deps{})
	msg := sealed(t, bot, p, "for alice")
	if _, err := open(bot, p, msg, "1"); !errors.Is(err, e2ee.ErrWrongKey) {
		t.Errorf("our own message to alice: %v", err)
	}
	// A signed message re-sealed to another recipient is not for them.
	carol := ourKey(t, "carol")
	keys, _ := ring(t, carol.Public, ourKey(t, "bot").Public, alice.Secret().mustPublic(t))
	resealed := reseal(t, alice, msg, carol, keys)
	bob := New(Config{Secret: carol.secret, Keyring: keys}, Deps{})
	_, err := open(bob, person("bot", false, ourKey(t, "bot").Fingerprint), resealed, "1")
	if !errors.Is(err, e2ee.ErrSignature) {
		t.Errorf("a signature for somebody else: %v", err)
	}
}

func (s *Secret) mustPublic(t testing.TB) []byte {
	t.Helper()
	b, err := s.Public()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// reseal opens msg with the key of s and seals what is inside to another key.
func reseal(t testing.TB, s *Scheme, msg string, to ours, keys *Keyring) string {
	t.Helper()
	b := new(buffers)
	var err error
	if b.armor, err = decodeArmor(nil, msg); err != nil {
		t.Fatal(err)
	}
	inside, _, err := decrypt(b, s.Secret())
	if err != nil {
		t.Fatal(err)
	}
	return sealPackets(t, bytes.Clone(inside), to)
}

// sealPackets encrypts packets to a key.
func sealPackets(t testing.TB, packets []byte, to ours) string {
	t.Helper()
	r, err := newCert(to.secret.own.entity).strictRecipient(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b := &buffers{inner: append(make([]byte, prefixLen), packets...)}
	if err := encrypt(b, []*recipient{r}); err != nil {
		t.Fatal(err)
	}
	return string(appendArmor(nil, b.out.Bytes()))
}

func lit(text string, date uint32) []byte {
	b := appendHeader(nil, tagLiteral, 6+len(text))
	b = append(b, 'b', 0, byte(date>>24), byte(date>>16), byte(date>>8), byte(date))
	return append(b, text...)
}

func compressed(t testing.TB, packets []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := packet.SerializeCompressed(nopCloser{&b}, packet.CompressionZLIB, &packet.CompressionConfig{Level: 9})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(packets); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// makeBomb returns a compressed packet that inflates to n MiB: the deflate blocks
// of one MiB of zeros, again and again. It makes 272 KiB of armor of 200 MiB.
func makeBomb(t testing.TB, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	chunk := func(data []byte) []byte {
		b.Reset()
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(b.Bytes())
	}
	head := chunk([]byte{0xcb, 0xff, byte(n >> 4), byte(n << 4), 0, 6, 'b', 0, 0, 0, 0, 0})
	first := chunk(make([]byte, 1<<20))
	more := chunk(make([]byte, 1<<20))
	out := append([]byte{0xa3, 1}, head...) // old format, indeterminate length, ZIP
	out = append(append(out, first...), bytes.Repeat(more, n-1)...)
	return append(out, 1, 0, 0, 0xff, 0xff)
}

// TestBombs: the library alone inflates 272 KiB of armor to 200 MiB. That much
// armor is refused unread; the largest that is read stops at maxInner.
func TestBombs(t *testing.T) {
	s, _, p, _ := pair(t, Deps{})
	bot := ourKey(t, "bot")
	big := sealPackets(t, makeBomb(t, 200), bot)
	if _, err := open(s, p, big, "1"); len(big) < 200<<10 || !errors.Is(err, e2ee.ErrTooLarge) {
		t.Errorf("%d KiB of armor for 200 MiB: %v", len(big)>>10, err)
	}
	small := sealPackets(t, makeBomb(t, 40), bot)
	if len(small) > maxArmor {
		t.Fatalf("%d bytes of armor are not read at all", len(small))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := open(s, p, small, "2")
	runtime.ReadMemStats(&after)
	if !errors.Is(err, e2ee.ErrTooLarge) {
		t.Errorf("%d KiB of armor for 40 MiB: %v", len(small)>>10, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
		t.Errorf("Open took %d KiB for it", n>>10)
	}
	// It is a bomb indeed: with a limit out of the way the library eats it all.
	b := new(buffers)
	var derr error
	if b.armor, derr = decodeArmor(nil, small); derr != nil {
		t.Fatal(derr)
	}
	md, derr := pgp.ReadMessage(bytes.NewReader(b.armor), pgp.EntityList{bot.secret.own.entity}, nil, nil)
	if derr != nil {
		t.Fatal(derr)
	}
	if n, err := io.Copy(io.Discard, md.UnverifiedBody); n != 40<<20 {
		t.Errorf("the library reads %d bytes, %v", n, err)
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// TestInside seals what no client sends.
func TestInside(t *testing.T) {
	now := uint32(time.Now().Unix())
	bot := ourKey(t, "bot")
	bomb := makeBomb(t, 20)
	for _, tt := range []struct {
		name    string
		packets []byte
		want    error
	}{
		{"a text", lit("ok", now), nil},
		{"without a date", lit("ok", 0), nil},
		{"compressed", compressed(t, lit("ok", now)), nil},
		{"with a file name", append([]byte{0xcb, 12, 'u', 4, 'n', 'a', 'm', 'e', 0, 0, 0, 0}, "ok"...), nil},
		{"markers", append([]byte{0xca, 3, 'P', 'G', 'P'}, lit("ok", now)...), nil},
		{"compressed twice", compressed(t, compressed(t, lit("ok", now))), e2ee.ErrMalformed},
		{"two texts", append(lit("ok", now), lit("ok", now)...), e2ee.ErrMalformed},
		{"nothing", nil, e2ee.ErrMalformed},
		{"only a marker", []byte{0xca, 3, 'P', 'G', 'P'}, e2ee.ErrMalformed},
		{"many markers", append(bytes.Repeat([]byte{0xca, 3, 'P', 'G', 'P'}, 1000), lit("ok", now)...), e2ee.ErrMalformed},
		{"a key", []byte{0xc6, 1, 4}, e2ee.ErrMalformed},
		{"encrypted once more", []byte{0xd2, 2, 1, 0}, e2ee.ErrMalformed},
		{"not UTF-8", lit("\xff\xfe", now), e2ee.ErrMalformed},
		{"an OTR message", lit("?OTR:AAMDJ+MVmSfjFZcAAAAAAQAAAAIAAADA1g5IjD1", now), e2ee.ErrNested},
		{"an OTR query", lit("?OTRv23?", now), e2ee.ErrNested},
		{"talk about OTR", lit("?OTR is what", now), nil},
		{"dated last year", lit("ok", now-365*86400), e2ee.ErrReplay},
		{"dated next week", lit("ok", now+7*86400), e2ee.ErrMalformed},
		{"larger than is shown", lit(strings.Repeat("x", maxPlain+1), now), e2ee.ErrTooLarge},
		{"a bomb", bomb, e2ee.ErrTooLarge},
		{"damaged compression", []byte{0xc8, 4, 2, 1, 2, 3}, e2ee.ErrMalformed},
		{"a literal cut short", []byte{0xcb, 3, 'b', 200, 0}, e2ee.ErrMalformed},
		{"announced signature missing", append([]byte{0xc4, 13, 3, 0, 8, 22, 1, 2, 3, 4, 5, 6, 7, 8, 1}, lit("ok", now)...), e2ee.ErrSignature},
		{"signature that is none", append([]byte{0xc2, 3, 4, 0, 0}, lit("ok", now)...), e2ee.ErrSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _, p, _ := pair(t, Deps{})
			armor := sealPackets(t, tt.packets, bot)
			got, err := open(s, p, armor, "1")
			if tt.want == nil && err != nil || !errors.Is(err, tt.want) {
				t.Fatalf("Open = %v, want %v", err, tt.want)
			}
			if err != nil && got.Reveal() != "" {
				t.Errorf("an error and %d bytes of text", len(got.Reveal()))
			}
		})
	}
}

// TestOutside opens what is not a message.
func TestOutside(t *testing.T) {
	s, alice, p, toBot := pair(t, Deps{})
	msg := sealed(t, alice, toBot, "hello")
	raw, _ := decodeArmor(nil, msg)
	_, data, _ := nextPacket(raw)
	key := raw[:len(raw)-len(data)]
	enc := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
	foreign := bytes.Clone(key)
	foreign[3] ^= 0xff // of the key id
	noMDC := append(bytes.Clone(key), 0xc9, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)
	for _, tt := range []struct {
		name, text string
		want       error
	}{
		{"empty", "", e2ee.ErrMalformed},
		{"clear text", "hello there, this is not base64!", e2ee.ErrMalformed},
		{"base64 of nothing OpenPGP", enc([]byte("hello there")), e2ee.ErrMalformed},
		{"a literal without encryption", enc(lit("clear", 0)), e2ee.ErrMalformed},
		{"no session key", enc(data), e2ee.ErrWrongKey},
		{"no data", enc(key), e2ee.ErrMalformed},
		{"without integrity protection", enc(noMDC), e2ee.ErrMalformed},
		{"something behind", enc(append(bytes.Clone(raw), lit("clear", 0)...)), e2ee.ErrMalformed},
		{"too many recipients", enc(append(bytes.Repeat(foreign, maxSessions+1), data...)), e2ee.ErrTooLarge},
		{"too many session keys for us", enc(append(bytes.Repeat(key, maxTries+1), data...)), e2ee.ErrTooLarge},
		{"cut short", enc(raw[:len(raw)-9]), e2ee.ErrMalformed},
		{"64 KiB of armor", strings.Repeat("A", maxArmor+1), e2ee.ErrTooLarge},
		{"50 MB", strings.Repeat("A", 50<<20), e2ee.ErrTooLarge},
		{"wrong checksum", strings.TrimRight(msg[:len(msg)-4], "\n") + "AAAA", e2ee.ErrMalformed},
		{"partial session key", enc([]byte{0xc1, 0xe0, 3, 0}), e2ee.ErrMalformed},
		{"a session key of rubbish", enc(append(append(append([]byte{0xc1, 60}, raw[2:12]...), make([]byte, 50)...), data...)), e2ee.ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := open(s, p, tt.text, "1"); !errors.Is(err, tt.want) {
				t.Errorf("Open = %v, want %v", err, tt.want)
			}
		})
	}
	t.Run("two encrypted parts", func(t *testing.T) {
		in := incoming(msg, "1")
		in.Children = append(in.Children, element.New(NSEncrypted, "x").SetText(msg))
		if _, err := s.Open(t.Context(), p, in); !errors.Is(err, e2ee.ErrMalformed) {
			t.Errorf("Open = %v", err)
		}
	})
	if got, err := open(s, p, msg, "1"); err != nil || got.Reveal() != "hello" {
		t.Errorf("the message itself: %v", err)
	}
}

// TestTampered flips each byte of the ciphertext in turn. Not each is noticed by
// decryption (the library ignores the prefix of a curve's point), but such a one
// is still a replay.
func TestTampered(t *testing.T) {
	s, alice, p, toBot := pair(t, Deps{})
	msg := sealed(t, alice, toBot, "the plain text")
	if _, err := open(s, p, msg, "1"); err != nil {
		t.Fatal(err)
	}
	raw, _ := decodeArmor(nil, msg)
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 0x40
		got, err := open(s, p, base64.StdEncoding.EncodeToString(bad), "")
		if err == nil || got.Reveal() != "" {
			t.Fatalf("byte %d of %d altered: opened", i, len(raw))
		}
	}
}

// TestReplayOfAlteredBytes changes bytes that decryption does not look at: the
// hash of the ciphertext is new, the session key is not.
func TestReplayOfAlteredBytes(t *testing.T) {
	s, alice, p, toBot := pair(t, Deps{})
	msg := sealed(t, alice, toBot, "once")
	if _, err := open(s, p, msg, "id-1"); err != nil {
		t.Fatal(err)
	}
	raw, _ := decodeArmor(nil, msg)
	first, rest, _ := nextPacket(raw)
	// The same packets behind a marker, with other headers, behind a foreign key.
	foreign := append([]byte{0xc1, byte(len(first.body))}, first.body...)
	copy(foreign[3:11], "\x01\x02\x03\x04\x05\x06\x07\x08")
	for name, alt := range map[string][]byte{
		"marker":       append([]byte{0xca, 3, 'P', 'G', 'P'}, raw...),
		"old header":   append(append([]byte{0x84, byte(len(first.body))}, first.body...), rest...),
		"foreign key":  append(foreign, raw...),
		"hidden key":   append(append(append([]byte{0xc1, byte(len(first.body)), 3}, make([]byte, 8)...), first.body[9:]...), rest...),
		"the very one": raw,
	} {
		text := base64.StdEncoding.EncodeToString(alt)
		if _, err := open(s, p, text, "id-2"); !errors.Is(err, e2ee.ErrReplay) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := open(s, person("mallory", false), text, "id-1"); !errors.Is(err, e2ee.ErrReplay) {
			t.Errorf("%s, from somebody else: %v", name, err)
		}
		if got, err := open(s, p, text, "id-1"); err != nil || !got.Redelivered {
			t.Errorf("%s, redelivered: %v, %v", name, got.Redelivered, err)
		}
	}
}

func TestSignatureAge(t *testing.T) {
	now := time.Now()
	bot, alice, p, toBot := pair(t, Deps{Now: func() time.Time { return now }})
	alice.codec.now = func() time.Time { return time.Now().Add(30 * time.Second) } // a clock a little ahead
	msg := sealed(t, alice, toBot, "old")
	if _, err := open(bot, p, msg, "1"); err != nil {
		t.Errorf("fresh: %v", err)
	}
	bot.replay = e2ee.NewReplayCache(0, 0)
	now = now.Add(29 * 24 * time.Hour)
	if _, err := open(bot, p, msg, "2"); err != nil {
		t.Errorf("29 days old, as from offline storage: %v", err)
	}
	bot.replay = e2ee.NewReplayCache(0, 0)
	now = now.Add(2 * 24 * time.Hour)
	if _, err := open(bot, p, msg, "3"); !errors.Is(err, e2ee.ErrReplay) {
		t.Errorf("older than replays are remembered: %v", err)
	}
}

func TestPresenceSignature(t *testing.T) {
	bot, alice, p, toBot := pair(t, Deps{})
	x, err := bot.SignPresence("here & there")
	if err != nil {
		t.Fatal(err)
	}
	again, _ := bot.SignPresence("here & there")
	if again.Text != x.Text || again == x {
		t.Error("a status is signed once, and each presence has its own element")
	}
	for _, tt := range []struct {
		name, status string
		peer         e2ee.Peer
		x            *element.Element
		want         error
	}{
		{"good", "here & there", toBot, x, nil},
		{"another status", "here &amp; there", toBot, x, e2ee.ErrSignature},
		{"trimmed", "here & there ", toBot, x, e2ee.ErrSignature},
		{"another person's key", "here & there", p, x, e2ee.ErrKeyChanged},
		{"nothing pinned", "here & there", person("x", false), x, e2ee.ErrNoKey},
		{"unsigned", "here & there", toBot, nil, e2ee.ErrSignature},
		{"rubbish", "", toBot, element.New(NSSigned, "x").SetText("rubbish!"), e2ee.ErrMalformed},
		{"empty", "", toBot, element.New(NSSigned, "x"), e2ee.ErrMalformed},
		{"huge", "", toBot, element.New(NSSigned, "x").SetText(strings.Repeat("A", 1<<20)), e2ee.ErrTooLarge},
		{"a literal", "", toBot, element.New(NSSigned, "x").SetText(base64.StdEncoding.EncodeToString(lit("", 0))), e2ee.ErrMalformed},
	} {
		if err := alice.VerifyPresence(tt.peer, tt.status, tt.x); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	// A key of another kind of signature will not do: a certification, say.
	other := ourKey(t, "other")
	bot.SetSecret(other.secret)
	fresh, err := bot.SignPresence("here & there")
	if err != nil || fresh.Text == x.Text {
		t.Errorf("after the key changed the presence is signed anew: %v", err)
	}
	for i := range 3 * presenceCache {
		if _, err := bot.SignPresence(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(bot.codec.own.Load().presence); n > presenceCache {
		t.Errorf("%d signatures kept", n)
	}
}

// TestSignatureOfAnotherKind makes sure that a signature made for something else
// does not pass for one over a text.
func TestSignatureOfAnotherKind(t *testing.T) {
	_, alice, _, toBot := pair(t, Deps{})
	key, err := ourKey(t, "bot").secret.signingKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []packet.SignatureType{packet.SigTypeGenericCert, packet.SigTypeDirectSignature, packet.SigTypeKeyRevocation} {
		sig := newSignature(key, time.Now())
		sig.SigType = typ
		var b bytes.Buffer
		if err := sign(&b, sig, key, []byte("status")); err != nil {
			t.Fatal(err)
		}
		x := element.New(NSSigned, "x").SetText(base64.StdEncoding.EncodeToString(b.Bytes()))
		if err := alice.VerifyPresence(toBot, "status", x); !errors.Is(err, e2ee.ErrSignature) {
			t.Errorf("type %#x: %v", typ, err)
		}
	}
}

func TestNothingIsLogged(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	bot, alice, p, toBot := pair(t, Deps{Log: log})
	got, err := open(bot, p, sealed(t, alice, toBot, "canary-text"), "1")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("opened", "got", got, "secret", bot.Secret(), "scheme", fmt.Sprintf("%v %+v", got, bot.Secret()))
	if strings.Contains(b.String(), "canary-text") || strings.Contains(b.String(), "entity") {
		t.Errorf("log: %s", b.String())
	}
}

// TestLibraryReadsUs decrypts with go-crypto's own reader, which checks the order
// of packets strictly, and lets it write to us.
func TestLibraryReadsUs(t *testing.T) {
	bot, alice, p, _ := pair(t, Deps{})
	ents := pgp.EntityList{alice.Secret().own.entity, bot.Secret().own.entity}
	raw, _ := decodeArmor(nil, sealed(t, bot, p, greeting))
	md, err := pgp.ReadMessage(bytes.NewReader(raw), ents, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(md.UnverifiedBody)
	if err != nil || string(text) != greeting || md.SignatureError != nil || !md.IsSigned {
		t.Errorf("read %q, %v, signature %v", text, err, md.SignatureError)
	}
	for i, cfg := range []*packet.Config{
		nil,
		{DefaultCompressionAlgo: packet.CompressionZLIB},
		{DefaultHash: crypto.SHA512},
		{DefaultCipher: packet.CipherAES256},
	} {
		var b bytes.Buffer
		w, err := pgp.Encrypt(&b, []*pgp.Entity{bot.Secret().own.entity}, nil, []*pgp.Entity{alice.Secret().own.entity}, nil, cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, greeting)
		_ = w.Close()
		got, err := open(bot, p, string(appendArmor(nil, b.Bytes())), fmt.Sprint(i))
		if err != nil || got.Reveal() != greeting || got.Rung != policy.Verified {
			t.Errorf("config %d: %q, %v, %v", i, got.Reveal(), got.Rung, err)
		}
	}
}

// TestNewerPackets opens what newer software may send: SEIPD version 2 with a
// version 6 session key packet.
func TestNewerPackets(t *testing.T) {
	cfg := &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, AEADConfig: &packet.AEADConfig{DefaultMode: packet.AEADModeOCB},
		Time: func() time.Time { return time.Now().Add(-time.Minute) },
	}
	e, err := pgp.NewEntity("bot", "", "", cfg)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := armored(pgp.PrivateKeyType, func(b *bytes.Buffer) error { return e.SerializePrivateWithoutSigning(b, nil) })
	if err != nil {
		t.Fatal(err)
	}
	secret, err := ParseSecret(raw, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := ring(t, ourKey(t, "bot").Public)
	s := New(Config{Secret: secret, Keyring: keys}, Deps{})
	var b bytes.Buffer
	w, err := pgp.Encrypt(&b, []*pgp.Entity{e}, nil, nil, nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, greeting)
	_ = w.Close()
	if first, rest, _ := nextPacket(b.Bytes()); first.body[0] != 6 || rest[0] != 0xc0|tagProtected {
		t.Fatalf("the library wrote version %d", first.body[0])
	}
	got, err := open(s, person("alice", false), string(appendArmor(nil, b.Bytes())), "1")
	if err != nil || got.Reveal() != greeting {
		t.Errorf("opened %q, %v", got.Reveal(), err)
	}
	data := b.Bytes()
	data[len(data)-1] ^= 1
	if got, err := open(s, person("alice", false), string(appendArmor(nil, data)), "2"); !errors.Is(err, e2ee.ErrMalformed) {
		t.Errorf("altered: %q, %v", got.Reveal(), err)
	}
}

// TestReloadUnderWay reads keys again and again while messages are under way.
func TestReloadUnderWay(t *testing.T) {
	bot, alice, p, toBot := pair(t, Deps{})
	stop := make(chan struct{})
	var reloads, talk sync.WaitGroup
	reloads.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := bot.codec.keyring.Reload(); err != nil {
				t.Errorf("Reload: %v", err)
			}
			bot.SetSecret(bot.Secret())
			_ = bot.codec.keyring.Changed()
			_ = bot.codec.keyring.List(time.Now())
			_ = bot.codec.keyring.Expiries([]*policy.Person{p.Person}, time.Now())
		}
	})
	for g := range 4 {
		talk.Go(func() {
			for i := range 50 {
				text := fmt.Sprintf("%d/%d", g, i)
				out, err := bot.Seal(t.Context(), p, plain(text))
				if err != nil {
					t.Errorf("Seal: %v", err)
					return
				}
				if got, err := alice.Open(t.Context(), toBot, e2eetest.Carry(out, text)); err != nil || got.Reveal() != text || got.Rung != policy.Verified {
					t.Errorf("Open: %v", err)
				}
				if _, err := bot.SignPresence(text); err != nil {
					t.Errorf("SignPresence: %v", err)
				}
			}
		})
	}
	talk.Wait()
	close(stop)
	reloads.Wait()
}

// TestExpiredKeyStopsAtOnce: whoever has a key that has expired can date a signature
// back, so it counts no more, whatever its date.
func TestExpiredKeyStopsAtOnce(t *testing.T) {
	now := time.Now()
	g, err := Generate("alice", "alice@example.org", nil, time.Hour, now.Add(-30*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := ParseSecret(g.Secret, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	bot := ourKey(t, "bot")
	keys, _ := ring(t, g.Public, bot.Public)
	s := New(Config{Secret: bot.secret, Keyring: keys}, Deps{Now: func() time.Time { return now }})
	alice := New(Config{Secret: secret, Keyring: keys}, Deps{Now: func() time.Time { return now }})
	p, toBot := person("alice", false, g.Fingerprint), person("bot", false, bot.Fingerprint)
	msg := sealed(t, alice, toBot, "hello")
	if got, err := open(s, p, msg, "1"); err != nil || got.Rung != policy.Verified {
		t.Fatalf("before: %v, %v", got.Rung, err)
	}
	now = now.Add(time.Hour)
	s.replay = e2ee.NewReplayCache(0, 0)
	if got, err := open(s, p, msg, "2"); !errors.Is(err, e2ee.ErrSignature) || !errors.Is(err, e2ee.ErrKeyExpired) {
		t.Errorf("after its key has expired: %v, %v", got.Rung, err)
	}
}
