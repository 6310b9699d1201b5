package main

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// XEP-0027: the whole OpenPGP message, ASCII-armoured without its frame, in
// <x xmlns='jabber:x:encrypted'/>; the status text signed in presence. Keys are
// made per session as <user>.sec.asc and <user>.pub.asc; "codec_arg" is rsa3072,
// rsa4096 or empty for Ed25519/X25519 (the v4 kind that GnuPG 2.2 reads).
type gpgCodec struct {
	own  *openpgp.Entity
	keys map[string]*openpgp.Entity
}

func gpgConfig(arg string) *packet.Config {
	c := &packet.Config{DefaultHash: crypto.SHA256, DefaultCipher: packet.CipherAES256, DefaultCompressionAlgo: packet.CompressionNone}
	switch arg {
	case "rsa3072":
		c.Algorithm, c.RSABits = packet.PubKeyAlgoRSA, 3072
	case "rsa4096":
		c.Algorithm, c.RSABits = packet.PubKeyAlgoRSA, 4096
	default:
		c.Algorithm = packet.PubKeyAlgoEdDSA
	}
	return c
}

func makeGPGKeys(dir string, users []string, arg string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, u := range users {
		e, err := openpgp.NewEntity(u, "", "xmpp:"+u+"@"+domain, gpgConfig(arg))
		if err != nil {
			return err
		}
		for _, k := range []struct {
			ext, typ string
			put      func(io.Writer) error
		}{{"sec", openpgp.PrivateKeyType, func(w io.Writer) error { return e.SerializePrivate(w, nil) }}, {"pub", openpgp.PublicKeyType, e.Serialize}} {
			var b bytes.Buffer
			w, err := armor.Encode(&b, k.typ, nil)
			if err != nil {
				return err
			}
			if err := k.put(w); err != nil {
				return err
			}
			w.Close()
			b.WriteByte('\n')
			if err := os.WriteFile(filepath.Join(dir, u+"."+k.ext+".asc"), b.Bytes(), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

func newGPGCodec(dir, user, _ string) (Codec, error) {
	g := &gpgCodec{keys: map[string]*openpgp.Entity{}}
	read := func(f string) (*openpgp.Entity, error) {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		l, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		return l[0], nil
	}
	var err error
	if g.own, err = read(filepath.Join(dir, user+".sec.asc")); err != nil {
		return nil, err
	}
	pubs, _ := filepath.Glob(filepath.Join(dir, "*.pub.asc"))
	for _, p := range pubs {
		if g.keys[strings.TrimSuffix(filepath.Base(p), ".pub.asc")], err = read(p); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func deframe(armored string) string {
	_, s, _ := strings.Cut(armored, "\n\n")
	i := strings.LastIndex(s, "\n-----END")
	if i < 0 {
		return s
	}
	return s[:i]
}

func (g *gpgCodec) encrypt(to, text string) (string, error) {
	key := g.keys[localpart(to)]
	if key == nil {
		return "", fmt.Errorf("no key of %s", to)
	}
	var b bytes.Buffer
	aw, err := armor.Encode(&b, "PGP MESSAGE", nil)
	if err != nil {
		return "", err
	}
	w, err := openpgp.Encrypt(aw, []*openpgp.Entity{key}, nil, nil, gpgConfig(""))
	if err != nil {
		return "", err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return "", err
	}
	if err := errors.Join(w.Close(), aw.Close()); err != nil {
		return "", err
	}
	return deframe(b.String()), nil
}

// Encode implements Codec.
func (g *gpgCodec) Encode(_ *XMPPClient, to, text string) string {
	x, err := g.encrypt(to, text)
	if err != nil {
		logf("xep0027: %v", err)
		return ""
	}
	return "<body>This message is encrypted (XEP-0027).</body><x xmlns='jabber:x:encrypted'>" + x + "</x>"
}

// Decode implements Codec.
func (g *gpgCodec) Decode(_ *XMPPClient, st []byte) (string, bool) {
	i := bytes.Index(st, []byte("jabber:x:encrypted"))
	if i < 0 {
		return "", false
	}
	x, ok := between(st[i:], ">", "<")
	if !ok {
		return "", false
	}
	blk, err := armor.Decode(strings.NewReader("-----BEGIN PGP MESSAGE-----\n\n" + strings.TrimSpace(x) + "\n-----END PGP MESSAGE-----\n"))
	if err != nil {
		return "", false
	}
	md, err := openpgp.ReadMessage(blk.Body, openpgp.EntityList{g.own}, nil, nil)
	if err != nil {
		if debugWire {
			logf("xep0027: %v", err)
		}
		return "", false
	}
	b, err := io.ReadAll(md.UnverifiedBody)
	return string(b), err == nil
}

// Presence signs an empty status.
func (g *gpgCodec) Presence() string {
	var b bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&b, g.own, strings.NewReader(""), gpgConfig("")); err != nil {
		return ""
	}
	return "<status></status><x xmlns='jabber:x:signed'>" + deframe(b.String()) + "</x>"
}

// fingerprint returns the fingerprint of the public key of a file, for configs
// that pin keys.
func fingerprint(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	l, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(b))
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return fmt.Sprintf("%X", l[0].PrimaryKey.Fingerprint), nil
}
