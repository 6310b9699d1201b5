package openpgp

import (
	"bytes"
	"crypto"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"drawbridge/xmpp/e2ee"
)

// benchText is a line of chat, 150 bytes.
var benchText = strings.Repeat("a line of chat ", 10)

// benchKeys are key types as (config, name), made by the library.
var benchKeys = []struct {
	name string
	cfg  packet.Config
}{
	{"curve25519", packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}},
	{"rsa2048", packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048}},
	{"rsa3072", packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 3072}},
	{"rsa4096", packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 4096}},
	{"nistp256", packet.Config{Algorithm: packet.PubKeyAlgoECDSA, Curve: packet.CurveNistP256}},
}

func benchKey(b *testing.B, cfg packet.Config) ours {
	b.Helper()
	cfg.Time = func() time.Time { return time.Now().Add(-time.Minute) }
	e, err := pgp.NewEntity("bench", "", "bench@example.org", &cfg)
	if err != nil {
		b.Fatal(err)
	}
	raw, err := armored(pgp.PrivateKeyType, func(w *bytes.Buffer) error { return e.SerializePrivateWithoutSigning(w, nil) })
	if err != nil {
		b.Fatal(err)
	}
	s, err := ParseSecret(raw, nil, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	pub, err := s.Public()
	if err != nil {
		b.Fatal(err)
	}
	return ours{&Generated{Fingerprint: s.fpr, Secret: raw, Public: pub}, s}
}

// forgetful remembers nothing: a benchmark opens one message many times.
type forgetful struct{}

func (forgetful) Mark([]byte, string, string, time.Time) (e2ee.Verdict, []byte) {
	return e2ee.Fresh, nil
}
func (forgetful) Horizon(now time.Time) time.Time { return now.Add(-time.Hour) }

func benchPair(b *testing.B, cfg packet.Config) (s *Scheme, p e2ee.Peer, key ours) {
	b.Helper()
	key = benchKey(b, cfg)
	keys, _ := ring(b, key.Public)
	return New(Config{Secret: key.secret, Keyring: keys}, Deps{Replay: forgetful{}}), person("alice", false, key.Fingerprint), key
}

func BenchmarkSeal(b *testing.B) {
	for _, k := range benchKeys {
		s, p, _ := benchPair(b, k.cfg)
		for _, unsigned := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/signed=%v", k.name, !unsigned), func(b *testing.B) {
				s.unsigned = unsigned
				b.ReportAllocs()
				for b.Loop() {
					if _, err := s.Seal(b.Context(), p, plain(benchText)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, k := range benchKeys {
		s, p, key := benchPair(b, k.cfg)
		for _, tt := range []string{"unsigned", "signed", "compressed"} {
			b.Run(k.name+"/"+tt, func(b *testing.B) {
				s.unsigned = tt != "signed"
				msg := sealed(b, s, p, benchText)
				if tt == "compressed" { // as GnuPG sends
					msg = sealPackets(b, compressed(b, lit(benchText, 0)), key)
				}
				in := incoming(msg, "")
				b.ReportAllocs()
				for b.Loop() {
					if _, err := s.Open(b.Context(), p, in); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkBare is what a relay does that knows nothing of all this: go-crypto's
// Encrypt and ReadMessage with armor. Seal and Open are to be measured by it.
func BenchmarkBare(b *testing.B) {
	for _, k := range benchKeys[:3] {
		key := benchKey(b, k.cfg)
		raw, _ := armor.Decode(bytes.NewReader(key.Public))
		ents, err := openpgp.ReadKeyRing(raw.Body)
		if err != nil {
			b.Fatal(err)
		}
		raw, _ = armor.Decode(bytes.NewReader(key.Generated.Secret))
		own, err := openpgp.ReadKeyRing(raw.Body)
		if err != nil {
			b.Fatal(err)
		}
		cfg := &packet.Config{DefaultHash: crypto.SHA256, DefaultCipher: packet.CipherAES256}
		seal := func(signer *openpgp.Entity) string {
			var out bytes.Buffer
			aw, _ := armor.Encode(&out, "PGP MESSAGE", nil)
			w, err := openpgp.Encrypt(aw, ents[:1], signer, nil, cfg)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.WriteString(w, benchText)
			_ = w.Close()
			_ = aw.Close()
			return out.String()
		}
		b.Run(k.name+"/encrypt", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = strip(seal(nil))
			}
		})
		b.Run(k.name+"/encrypt+sign", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = strip(seal(own[0]))
			}
		})
		for _, signer := range []*openpgp.Entity{nil, own[0]} {
			msg := strip(seal(signer))
			b.Run(fmt.Sprintf("%s/decrypt/signed=%v", k.name, signer != nil), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					blk, err := armor.Decode(strings.NewReader("-----BEGIN PGP MESSAGE-----\n\n" + msg + "\n-----END PGP MESSAGE-----\n"))
					if err != nil {
						b.Fatal(err)
					}
					md, err := openpgp.ReadMessage(blk.Body, own, nil, nil)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadAll(md.UnverifiedBody); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkParallelSeal(b *testing.B) {
	s, p, _ := benchPair(b, benchKeys[0].cfg)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Seal(b.Context(), p, plain(benchText)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkReach(b *testing.B) {
	s, p, _ := benchPair(b, benchKeys[0].cfg)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Reach(p); err != nil {
			b.Fatal(err)
		}
	}
}
