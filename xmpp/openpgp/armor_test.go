package openpgp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"drawbridge/xmpp/e2ee"
)

// armorTests are the forms clients put into <x/>, all of the same bytes.
func armorTests(data []byte) []struct{ name, in string } {
	body := string(appendArmor(nil, data))
	i := strings.LastIndex(body, "\n=")
	b64, crc := body[:i], body[i+1:]
	flat := strings.ReplaceAll(b64, "\n", "")
	return []struct{ name, in string }{
		{"ours, Psi, mcabber", body},
		{"profanity: newline at the end", body + "\n"},
		{"newlines around", "\n\n" + body + "\n\n"},
		{"no checksum", b64},
		{"CRLF", strings.ReplaceAll(body, "\n", "\r\n")},
		{"one line and checksum", flat + "\n" + crc},
		{"one line, checksum joined", flat + crc},
		{"one line, nothing else", flat},
		{"line breaks made blanks", strings.ReplaceAll(body, "\n", " ")},
		{"whole armor", "-----BEGIN PGP MESSAGE-----\n\n" + body + "\n-----END PGP MESSAGE-----\n"},
		{"whole armor with headers", "-----BEGIN PGP MESSAGE-----\nVersion: GnuPG v2\nComment: hello: there\n\n" + body + "\n-----END PGP MESSAGE-----"},
		{"whole armor, CRLF", strings.ReplaceAll("-----BEGIN PGP MESSAGE-----\nVersion: x\n\n"+body+"\n-----END PGP MESSAGE-----\n", "\n", "\r\n")},
		{"header left over (profanity with emit-version)", "Version: GnuPG v2\n\n" + body},
		{"header left over, no blank line", "Comment: x\n" + body},
		{"footer left over", body + "\n-----END PGP MESSAGE-----"},
		{"indented", strings.ReplaceAll("\n"+body, "\n", "\n\t  ")},
		{"no padding", strings.TrimRight(flat, "=")},
		{"76 columns", wrap(flat, 76) + "\n" + crc},
	}
}

func wrap(s string, n int) string {
	var b strings.Builder
	for len(s) > n {
		b.WriteString(s[:n] + "\n")
		s = s[n:]
	}
	return b.String() + s
}

func TestDecodeArmor(t *testing.T) {
	for _, n := range []int{1, 2, 3, 47, 48, 49, 95, 96, 97, 500} {
		data := bytes.Repeat([]byte{0x85, 0x01, 0x0c}, n)[:n]
		for _, tt := range armorTests(data) {
			got, err := decodeArmor(nil, tt.in)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %s: %x, %v", n, tt.name, got, err)
			}
		}
	}
}

func TestDecodeArmorRefuses(t *testing.T) {
	good := string(appendArmor(nil, []byte("some OpenPGP data")))
	for _, in := range []string{
		"", " \n", "=", "=AAAA", "hello, world", good[:len(good)-1] + "!", good + "x", "-----BEGIN PGP MESSAGE-----",
		"-----BEGIN PGP MESSAGE-----\n-----END PGP MESSAGE-----", strings.Replace(good, "c", "d", 1), "A", "AAAAA",
		"QUJD=AAAA", "QUJD\n=AAA", "Version: x\n\n", "ü",
	} {
		if got, err := decodeArmor(nil, in); !errors.Is(err, e2ee.ErrMalformed) {
			t.Errorf("%q: %x, %v", in, got, err)
		}
	}
}

func FuzzDecodeArmor(f *testing.F) {
	for _, tt := range armorTests([]byte("seed data for the fuzzer, longer than one line of armor")) {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		data, err := decodeArmor(nil, in)
		if err != nil {
			return
		}
		again, err := decodeArmor(nil, string(appendArmor(nil, data)))
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("no round trip: %v", err)
		}
	})
}

func FuzzKBX(f *testing.F) {
	header := append([]byte{0, 0, 0, 32, 1, 1, 0, 2, 'K', 'B', 'X', 'f'}, make([]byte, 20)...)
	f.Add(header)
	f.Add(append(bytes.Clone(header), 0, 0, 0, 20, 2, 1, 0, 0, 0, 0, 0, 16, 0, 0, 0, 4, 1, 2, 3, 4))
	f.Add(append(bytes.Clone(header), 0, 0, 0, 20, 2, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, in []byte) {
		blocks, err := readKBX(in)
		if err != nil {
			return
		}
		n := 0
		for _, b := range blocks {
			n += len(b)
		}
		if n > len(in) {
			t.Fatalf("%d bytes of blocks in %d", n, len(in))
		}
		_, _ = parseKeys(in)
	})
}

func FuzzNextPacket(f *testing.F) {
	f.Add([]byte{0xcb, 3, 1, 2, 3})
	f.Add([]byte{0x85, 0, 3, 1, 2, 3})
	f.Add([]byte{0xa3, 1, 2, 3})
	f.Add([]byte{0xd2, 0xe1, 1, 2, 0xe0, 3, 1, 4})
	f.Add([]byte{0xcb, 0xff, 0, 0, 0, 1, 2})
	f.Fuzz(func(t *testing.T, in []byte) {
		for total := 0; len(in) > 0; {
			p, rest, err := nextPacket(in)
			if err != nil {
				return
			}
			if len(p.raw)+len(rest) != len(in) || len(p.body) > len(p.raw) || len(p.raw) == 0 {
				t.Fatalf("%d bytes: raw %d, rest %d, body %d", len(in), len(p.raw), len(rest), len(p.body))
			}
			if total += len(p.body); total > 1<<20 {
				return
			}
			in = rest
		}
	})
}

// FuzzOpen hands altered messages to Open: it must not panic (recover would hide
// it, so the panic's words are looked for) nor open what is not the text.
func FuzzOpen(f *testing.F) {
	s, alice, p, toBot := pair(f, Deps{})
	raw, _ := decodeArmor(nil, sealed(f, alice, toBot, "the text"))
	f.Add(raw)
	bot := ourKey(f, "bot")
	for _, in := range [][]byte{lit("x", 0), compressed(f, lit("x", 0))} {
		data, _ := decodeArmor(nil, sealPackets(f, in, bot))
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		_, err := open(s, p, base64.StdEncoding.EncodeToString(in), "id")
		if err != nil && strings.Contains(err.Error(), "panicked") {
			t.Fatal(err)
		}
		// What is inside of an encryption can be anything too.
		if m, err := readInner(new(buffers), in, true); err == nil && len(m.data) > maxPlain {
			t.Fatalf("%d bytes of text", len(m.data))
		}
	})
}
