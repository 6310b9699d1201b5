package main

import (
	"bytes"
	"fmt"
	"strings"
)

// Codec is the hook for encrypted 1:1 traffic. The harness's XMPP clients pass
// every outgoing text and every incoming message stanza through one.
//
// To measure another encrypted leg (OX, OMEMO), add a file with a codec, a row
// in codecs, and name it in the spec ("codec": "..."). Encode returns the
// children of <message/>; Decode returns the plain text, or false for a stanza
// that carries none (a key exchange, a receipt). A codec may keep state per
// client and may answer by itself with c.Raw (the OTR one does). CPU that a
// codec spends is the harness's: the "cpu% harness" column shows it.
type Codec interface {
	Encode(c *XMPPClient, to, text string) string
	Decode(c *XMPPClient, stanza []byte) (string, bool)
}

// Handshaker is a Codec that needs a session before it can encrypt.
type Handshaker interface {
	Begin(c *XMPPClient, peer string)
	Ready() bool
}

// Presencer is a Codec that adds something to its owner's presence.
type Presencer interface {
	Presence() string
}

// codecs make the codec of one user; dir holds the keys of the session.
var codecs = map[string]func(dir, user, arg string) (Codec, error){
	"":        func(string, string, string) (Codec, error) { return plainCodec{}, nil },
	"plain":   func(string, string, string) (Codec, error) { return plainCodec{}, nil },
	"xep0027": newGPGCodec,
	"otr":     newOTRCodec,
}

// codecKeys make the keys of a session before anything starts.
var codecKeys = map[string]func(dir string, users []string, arg string) error{"xep0027": makeGPGKeys}

func newCodec(name, dir, user, arg string) (Codec, error) {
	mk := codecs[name]
	if mk == nil {
		return nil, fmt.Errorf("no codec %q", name)
	}
	return mk(dir, user, arg)
}

func localpart(jid string) string {
	u, _, _ := strings.Cut(jid, "@")
	return u
}

type plainCodec struct{}

// Encode implements Codec.
func (plainCodec) Encode(_ *XMPPClient, _, text string) string {
	return "<body>" + esc.Replace(text) + "</body>"
}

// Decode implements Codec.
func (plainCodec) Decode(_ *XMPPClient, st []byte) (string, bool) {
	if !bytes.Contains(st, []byte("<body")) {
		return "", false
	}
	return between(st, "<body>", "</body>")
}
