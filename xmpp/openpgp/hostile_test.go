package openpgp

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

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

// TestTampered flips each byte of a message in turn, signed or not. In the data none
// passes. In the session key not each is noticed by decryption (the library ignores
// the prefix of a curve's point): what opens then says the same, and is a replay.
func TestTampered(t *testing.T) {
	for _, unsigned := range []bool{false, true} {
		s, alice, p, toBot := pair(t, Deps{})
		alice.unsigned = unsigned
		msg := sealed(t, alice, toBot, "the plain text")
		genuine := e2ee.NewReplayCache(0, 0)
		s.replay = genuine
		if _, err := open(s, p, msg, "1"); err != nil {
			t.Fatal(err)
		}
		raw, _ := decodeArmor(nil, msg)
		_, data, err := nextPacket(raw)
		if err != nil {
			t.Fatal(err)
		}
		for i := range raw {
			bad := bytes.Clone(raw)
			bad[i] ^= 0x40
			altered := base64.StdEncoding.EncodeToString(bad)
			s.replay = e2ee.NewReplayCache(0, 0) // that it has come before is not what saves us
			got, err := open(s, p, altered, "")
			if err == nil && (i >= len(raw)-len(data) || got.Reveal() != "the plain text") {
				t.Fatalf("unsigned %v: byte %d of %d altered: opened %q", unsigned, i, len(raw), got.Reveal())
			}
			s.replay = genuine
			if _, err := open(s, p, altered, ""); err == nil {
				t.Fatalf("unsigned %v: byte %d of %d altered: opened again", unsigned, i, len(raw))
			}
		}
	}
}

// TestSignatureConditions: a good signature by the right key is refused where it says
// that it does not hold now, or something that we do not understand.
func TestSignatureConditions(t *testing.T) {
	bot := ourKey(t, "bot")
	now := time.Now()
	lifetime := uint32(20)
	for _, tt := range []struct {
		name string
		made time.Time
		edit func(*packet.Signature)
		want string // part of the error; "" is opened
	}{
		{"good", now, func(*packet.Signature) {}, ""},
		{"for some seconds, now", now, func(s *packet.Signature) { s.SigLifetimeSecs = &lifetime }, ""},
		{"for some seconds, a while ago", now.Add(-40 * time.Second), func(s *packet.Signature) { s.SigLifetimeSecs = &lifetime }, "expired"},
		{"before its key was made", now.AddDate(-1, 0, 0), func(*packet.Signature) {}, "could not sign when it was made"},
		{"with a note", now, func(s *packet.Signature) {
			s.Notations = []*packet.Notation{{Name: "note@corp.example", Value: []byte("x"), IsHumanReadable: true}}
		}, ""},
		{"with a critical note", now, func(s *packet.Signature) {
			s.Notations = []*packet.Notation{{Name: "note@corp.example", Value: []byte("x"), IsHumanReadable: true, IsCritical: true}}
		}, "critical notation"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, alice, p, _ := pair(t, Deps{})
			key, err := alice.codec.own.Load().signingKey(now)
			if err != nil {
				t.Fatal(err)
			}
			sig := newSignature(key, tt.made)
			tt.edit(sig)
			var signed bytes.Buffer
			if err := sign(&signed, sig, key, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			got, err := open(s, p, sealPackets(t, append(signed.Bytes(), lit("hello", uint32(now.Unix()))...), bot), "1")
			switch {
			case tt.want == "" && (err != nil || got.Rung != policy.Verified):
				t.Errorf("rung %v, %v", got.Rung, err)
			case tt.want != "" && (!errors.Is(err, e2ee.ErrSignature) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v, want a bad signature: %s", err, tt.want)
			}
		})
	}
}
