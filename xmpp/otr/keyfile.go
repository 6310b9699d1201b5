package otr

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/otr/engine"
)

// AccountKey is an entry of a file of private keys, as libotr's clients keep them:
// Pidgin (otr.private_key), profanity (keys.txt), mcabber (JID.key), irssi (otr.key).
type AccountKey struct {
	Name     string // of the account: a JID, perhaps with a resource
	Protocol string // "prpl-jabber", "xmpp", "jabber" …
	Key      *Key
}

// Limits of key files.
const (
	maxKeyFile  = 1 << 20
	maxDepth    = 16
	maxKeyCount = 1000
)

// ErrKeyFile is the error of what is no key file of libotr.
var ErrKeyFile = errors.New("otr: not a key file of libotr")

// sexp is an S-expression: an atom, or a list of them.
type sexp struct {
	atom string
	list []sexp
}

// find returns the first list in s that begins with name, or nil.
func (s *sexp) find(name string) *sexp {
	for i := range s.list {
		if l := s.list[i].list; len(l) > 0 && l[0].atom == name && l[0].list == nil {
			return &s.list[i]
		}
	}
	return nil
}

// value returns the atom of (name atom) in s, "" if there is none.
func (s *sexp) value(name string) string {
	if l := s.find(name); l != nil && len(l.list) == 2 {
		return l.list[1].atom
	}
	return ""
}

// parseSexp reads one expression off the front of in.
func parseSexp(in []byte, depth int) (s sexp, rest []byte, err error) {
	in = bytes.TrimLeft(in, " \t\r\n")
	switch {
	case len(in) == 0 || depth > maxDepth || in[0] == ')':
		return s, nil, ErrKeyFile
	case in[0] != '(':
		s.atom, rest, err = parseAtom(in)
		return s, rest, err
	}
	in = in[1:]
	s.list = []sexp{}
	for {
		in = bytes.TrimLeft(in, " \t\r\n")
		if len(in) > 0 && in[0] == ')' {
			return s, in[1:], nil
		}
		var item sexp
		if item, in, err = parseSexp(in, depth+1); err != nil {
			return s, nil, err
		}
		s.list = append(s.list, item)
	}
}

// parseAtom reads a token, "quoted", or #hexadecimal#.
func parseAtom(in []byte) (atom string, rest []byte, err error) {
	switch in[0] {
	case '"':
		var b strings.Builder
		for i := 1; i < len(in); i++ {
			switch {
			case in[i] == '"':
				return b.String(), in[i+1:], nil
			case in[i] == '\\' && i+1 < len(in):
				i++
			}
			b.WriteByte(in[i])
		}
		return "", nil, ErrKeyFile
	case '#':
		digits, rest, ok := bytes.Cut(in[1:], []byte("#"))
		if !ok {
			return "", nil, ErrKeyFile
		}
		raw, err := hex.DecodeString(string(bytes.Join(bytes.Fields(digits), nil)))
		if err != nil {
			return "", nil, ErrKeyFile
		}
		return string(raw), rest, nil
	}
	n := bytes.IndexAny(in, " \t\r\n()")
	if n <= 0 {
		return "", nil, ErrKeyFile
	}
	return string(in[:n]), in[n:], nil
}

// ParseKeys reads a file of private keys. Errors are ErrKeyFile, or one that names
// the account whose key is not usable; never a part of the file.
func ParseKeys(file []byte) ([]AccountKey, error) {
	if len(file) > maxKeyFile {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrKeyFile, maxKeyFile)
	}
	s, rest, err := parseSexp(file, 0)
	if err != nil || len(bytes.TrimSpace(rest)) > 0 || len(s.list) == 0 || s.list[0].atom != "privkeys" {
		return nil, ErrKeyFile
	}
	var out []AccountKey
	for _, a := range s.list[1:] {
		if len(a.list) == 0 || a.list[0].atom != "account" {
			continue
		}
		if len(out) == maxKeyCount {
			return nil, fmt.Errorf("%w: more than %d keys", ErrKeyFile, maxKeyCount)
		}
		k := AccountKey{Name: a.value("name"), Protocol: a.value("protocol")}
		dsa := a.find("private-key")
		if dsa != nil {
			dsa = dsa.find("dsa")
		}
		if dsa == nil {
			return nil, fmt.Errorf("%w: account %q has no DSA key", ErrKeyFile, k.Name)
		}
		var n [5]*big.Int
		for i, name := range []string{"p", "q", "g", "y", "x"} {
			n[i] = new(big.Int).SetBytes([]byte(dsa.value(name)))
		}
		if k.Key, err = engine.MakeKey(n[0], n[1], n[2], n[3], n[4]); err != nil {
			return nil, fmt.Errorf("key of account %q: %w", k.Name, err)
		}
		out = append(out, k)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: it holds no key", ErrKeyFile)
	}
	return out, nil
}

// FormatKeys writes what ParseKeys reads. It is secret.
func FormatKeys(keys []AccountKey) []byte {
	var b bytes.Buffer
	b.WriteString("(privkeys\n")
	for _, k := range keys {
		fmt.Fprintf(&b, " (account\n(name %s)\n(protocol %s)\n(private-key \n (dsa \n", quoted(k.Name), quoted(k.Protocol))
		p, q, g, y, x := k.Key.Numbers()
		for _, n := range []struct {
			name string
			v    *big.Int
		}{{"p", p}, {"q", q}, {"g", g}, {"y", y}, {"x", x}} {
			// A leading zero byte keeps libgcrypt from reading a negative number.
			raw := n.v.Bytes()
			if raw[0] >= 0x80 {
				raw = append([]byte{0}, raw...)
			}
			fmt.Fprintf(&b, "  (%s #%X#)\n", n.name, raw)
		}
		b.WriteString("  )\n )\n )\n")
	}
	b.WriteString(")\n")
	return b.Bytes()
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", "", "\r", "").Replace(s) + `"`
}

// KnownKey is a line of a file of fingerprints (Pidgin's otr.fingerprints,
// profanity's fingerprints.txt, mcabber's JID.fpr, irssi's otr.fp).
type KnownKey struct {
	User        string // whose key it is: a JID
	Account     string // to whom it was shown
	Protocol    string
	Fingerprint string // 40 upper-case hex digits
	Trust       string // "" not verified; "verified", "smp" …
}

// ParseFingerprints reads a file of fingerprints.
func ParseFingerprints(file []byte) ([]KnownKey, error) {
	if len(file) > maxKeyFile {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrKeyFile, maxKeyFile)
	}
	var out []KnownKey
	for i, line := range strings.Split(string(file), "\n") {
		line = strings.TrimRight(line, "\r")
		if line == "" {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) < 4 {
			return nil, fmt.Errorf("%w: line %d has no five fields", ErrKeyFile, i+1)
		}
		fpr, ok := e2ee.ParseFingerprint(f[3])
		if !ok {
			return nil, fmt.Errorf("%w: line %d has no fingerprint", ErrKeyFile, i+1)
		}
		k := KnownKey{User: f[0], Account: f[1], Protocol: f[2], Fingerprint: fpr}
		if len(f) > 4 {
			k.Trust = f[4]
		}
		out = append(out, k)
	}
	return out, nil
}

// FormatFingerprints writes what ParseFingerprints reads.
func FormatFingerprints(keys []KnownKey) []byte {
	var b bytes.Buffer
	field := strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")
	for _, k := range keys {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\n", field.Replace(k.User), field.Replace(k.Account), field.Replace(k.Protocol), strings.ToLower(k.Fingerprint), field.Replace(k.Trust))
	}
	return b.Bytes()
}
